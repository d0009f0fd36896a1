//! An echo server on the product's own WebSocket settings and socket code, so that any
//! conformance suite can be pointed at it:
//!
//! ```sh
//! cargo run --release -p pulseboard --example ws_echo -- 127.0.0.1:9001
//! ```
//!
//! Text and binary messages come back as they are. `MAX_MESSAGE_BYTES` and the other settings
//! hold as they do for the server; suites with messages of several MiB want it raised.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use bytes::Bytes;
use pulseboard::http;
use pulseboard::http::handshake;
use pulseboard::{
    App,
    access::token::Given,
    base::{clock::Clock, error::AppError, telemetry::StreamKind},
    endpoint::stream::open,
    server::{accept, middleware::Middleware},
    settings::{self, DataDir, Launch, Settings},
    stream::{viewer::Viewer, ws_session::Inbound},
};
use pulseboard_feed::wire::{Framing, ws};
use pulseboard_shared::codec::Encoding;
use salvo::{Depot, Request, Response, Router, Service, handler};

struct Echo;

impl Inbound for Echo {
    fn on_text(&mut self, viewer: &Arc<Viewer>, text: &str) {
        viewer.reply(ws::text(text));
    }

    fn on_binary(&mut self, viewer: &Arc<Viewer>, bytes: Bytes) {
        viewer.reply(ws::binary(&bytes));
    }
}

#[handler]
async fn open_echo(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let offered = open::offer(&app, request, depot, StreamKind::WsMetrics).await?;
    handshake::accept(request, response)?;
    offered.serve(move |app, taken, admission| {
        let wire = Framing::WebSocket(Encoding::Json);
        let viewer = open::viewer(
            &app,
            StreamKind::WsMetrics,
            wire,
            taken.stream,
            [taken.head],
            &admission,
        );
        viewer.deliver();
        open::serve_web_socket(app, viewer, admission, Echo, taken.read)
    });
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ws_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:9001".to_owned())
        .parse()?;
    let program = std::env::args_os().take(1);
    let Launch::Run(mut settings) = settings::load(program, &|name| std::env::var(name).ok())?
    else {
        return Err("the environment asks for something else than to run".into());
    };
    let listener = accept::bind(address)?;
    let bind_addr = listener.local_addr()?;
    eprintln!("echoing at ws://{bind_addr}/");
    let given = Given::take(&mut settings);
    let app = App::new(
        Settings {
            bind_addr,
            data_dir: DataDir::Memory,
            ..settings
        },
        (given, None),
        Clock::system(),
    )?;
    let service = Service::new(Router::with_path("{**path}").get(open_echo))
        .hoop(Middleware::new(Arc::clone(&app)));
    tokio::select! {
        _listener = accept::accept(Arc::clone(&app), listener, service) => {}
        _ = tokio::signal::ctrl_c() => app.stopping.cancel(),
    }
    Ok(())
}
