//! Prometheus remote read: samples of whole series, as protobuf, at once or in frames.

use std::sync::Arc;

use pulseboard_engine::{
    Cost, Selector,
    query::{self, Counting, QueryError},
};
use pulseboard_ingest::{
    decompress::{Coding, Unpacker},
    remote_read::{self, MatchKind, Question},
};
use pulseboard_promql::ast::{MatchOp, Matcher};
use pulseboard_series::KeyRef;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, header},
};

use super::{
    answer::{ApiError, send},
    asking::Asking,
    outside::Outside,
};
use crate::{
    expressions::selector,
    http::{
        body, counted,
        pieces::{Ended, Pieces},
    },
    questions::{Finished, Working},
};

/// Of an unpacked request.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// See the specification.
const STREAMED: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Series that a Prometheus asks for, with their samples.
#[handler]
pub async fn read(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    if let Err(error) = try_read(request, depot, response).await {
        send(response, Err(error));
    }
}

async fn try_read(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), ApiError> {
    let asking = Asking::begin(request, depot).await?;
    let packed = body::read_bytes(&asking.app, request).await?;
    let mut message = Vec::new();
    Unpacker::new()
        .unpack(
            Coding::Snappy,
            &packed,
            REQUEST_BYTES_MAX,
            &mut message,
            |_| true,
        )
        .map_err(|error| bad(error.to_string()))?;
    let asked = remote_read::parse(&message).map_err(|error| bad(error.to_string()))?;
    if asked.is_streamed {
        let write = move |asking: &Asking, answer: &mut Pieces| {
            for (index, question) in (0..).zip(&asked.questions) {
                stream(asking, question, index, answer)?;
            }
            Ok(())
        };
        return asking.write(request, response, STREAMED, write).await;
    }
    let body = asking
        .work(move |asking, working| samples(asking, &asked.questions, working))
        .await?;
    let headers = response.headers_mut();
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    headers.insert(header::CONTENT_TYPE, protobuf);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    counted::send(response, body);
    Ok(())
}

fn bad(error: String) -> ApiError {
    ApiError::BadData(error)
}

/// Which series a question names, in the engine's terms.
fn named(question: &Question, outside: &Outside) -> Result<Selector, ApiError> {
    // As Prometheus: whoever asks for what is told outside asks for all that is in here.
    let asks_inside = |matcher: &&remote_read::Matcher| {
        matcher.kind != MatchKind::Equal || !outside.has(&matcher.name, &matcher.value)
    };
    let matchers = question.matchers.iter().filter(asks_inside);
    let matchers = matchers.map(|matcher| Matcher {
        name: matcher.name.as_str().into(),
        op: match matcher.kind {
            MatchKind::Equal => MatchOp::Equal,
            MatchKind::NotEqual => MatchOp::NotEqual,
            MatchKind::Regex => MatchOp::Regex,
            MatchKind::NotRegex => MatchOp::NotRegex,
        },
        value: matcher.value.as_str().into(),
    });
    selector(&matchers.collect::<Vec<_>>()).map_err(ApiError::BadData)
}

/// Calls `each` with the series of a question.
fn each_series<E: From<QueryError>>(
    asking: &Asking,
    question: &Question,
    named: &Selector,
    cost: &Cost,
    each: &mut impl FnMut(KeyRef<'_>, &[(i64, f64)]) -> Result<(), E>,
) -> Result<(), E> {
    let stretch = (question.start_ms, question.end_ms.saturating_add(1));
    let engine = &asking.app.storage.engine;
    query::raw(
        engine,
        &asking.tenant,
        named,
        stretch,
        (cost, Counting::Read),
        each,
    )
}

/// The answer as one message behind snappy.
fn samples(
    asking: &Asking,
    questions: &[Question],
    working: &Working,
) -> Result<Finished, ApiError> {
    let mut message = Vec::new();
    let outside = Outside::of(asking);
    for question in questions {
        let selector = named(question, &outside)?;
        let mut result = Vec::new();
        each_series(
            asking,
            question,
            &selector,
            &working.cost,
            &mut |key, samples| -> Result<(), ApiError> {
                let before = result.len();
                remote_read::series_samples(outside.named(key), samples, &mut result);
                let more = 2 * (result.len() - before);
                working.cost.hold(more).map_err(QueryError::from)?;
                Ok(())
            },
        )?;
        remote_read::result(&result, &mut message);
        working.cost.let_go(result.len());
    }
    let most = snap::raw::max_compress_len(message.len());
    working.cost.hold(most).map_err(QueryError::from)?;
    let packed = snap::raw::Encoder::new().compress_vec(&message);
    drop(message);
    let packed = packed.map_err(|error| bad(error.to_string()))?;
    Ok(working.finish(vec![packed]))
}

/// The answer to one question in frames.
fn stream(
    asking: &Asking,
    question: &Question,
    index: i64,
    answer: &mut Pieces,
) -> Result<(), Ended> {
    let outside = Outside::of(asking);
    let selector = named(question, &outside)?;
    let cost = Arc::clone(&answer.cost);
    each_series(asking, question, &selector, &cost, &mut |key,
                                                          samples|
     -> Result<
        (),
        Ended,
    > {
        let mut framed = Vec::new();
        remote_read::series_chunks(outside.named(key), samples, index, &mut |message| {
            framed.clear();
            remote_read::frame(message, &mut framed);
            answer.write(&framed)
        })
    })
}
