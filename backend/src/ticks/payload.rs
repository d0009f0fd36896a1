//! A tick in its feed: how it is written for each view, merged for who is behind, and how it
//! travels to other servers.

use std::sync::Arc;

use bytes::Bytes;
use pulseboard_feed::{
    At, EventId, Frame, NotPortable, Payload, Portable, portable,
    wire::{Framing, sse, ws},
};
use pulseboard_shared::{
    Labels, Stats, Timestamp,
    protocol::metrics::{Merged, MergedSeries, ServerMessage, Tick as WireTick},
};
use serde::{Deserialize, Serialize};

use super::window::{Pushed, Selection, Series, Tick, TickSample};
use crate::base::json::json_text;

/// How ticks are written for a viewer.
#[derive(Clone, Debug)]
pub struct TickView {
    /// `None`: the four built-in metrics.
    pub selection: Option<Arc<Selection>>,
    /// What it is framed for.
    pub wire: Framing,
}

impl TickView {
    /// A message on this view's wire; `id` is its frame's, for event streams.
    pub(super) fn frame(&self, id: EventId, message: &ServerMessage) -> Bytes {
        match self.wire {
            Framing::WebSocket(form) => ws::metrics_message(form, message),
            wire => {
                let event = sse::event(None, Some(&id.to_string()), &json_text(message));
                sse::frame(&event, wire)
            }
        }
    }
}

impl PartialEq for TickView {
    fn eq(&self, other: &Self) -> bool {
        let same_selection = match (&self.selection, &other.selection) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_selection && self.wire == other.wire
    }
}

/// A tick in the feed.
#[derive(Debug)]
pub struct TickPayload(pub Arc<Tick>);

impl Payload for TickPayload {
    type View = TickView;

    fn encode(&self, at: At, view: &TickView) -> Bytes {
        let Self(tick) = self;
        view.frame(
            at.id(),
            &ServerMessage::Metrics(WireTick {
                epoch: at.epoch.to_string(),
                offset: at.offset,
                sampled_ms: tick.sampled_ms,
                sent_ms: tick.sent_ms,
                data: tick.metrics(view.selection.as_deref()).collect(),
            }),
        )
    }

    fn merge(held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &TickView) -> Bytes {
        let Some((newest, epoch)) = held
            .last()
            .map(|frame| (&frame.payload().0, frame.at().epoch))
        else {
            return Bytes::new();
        };
        // Series that appeared or went away on the way are in the newest tick or of no interest.
        let selection = view.selection.as_deref();
        let data = newest.samples(selection).map(|TickSample { series, .. }| {
            let samples = held
                .iter()
                .filter_map(|frame| frame.payload().0.sample_of(selection, series));
            let mut samples: Vec<(f64, i64)> = samples
                .filter(|sample| sample.value.is_finite())
                .map(|sample| (sample.value, sample.at_ms))
                .collect();
            // One that was pushed is in each tick until the next one comes.
            samples.dedup_by_key(|(_, at_ms)| *at_ms);
            let (values, times): (Vec<f64>, Vec<i64>) = samples.into_iter().unzip();
            let stats = Stats::of(values.iter().copied());
            MergedSeries {
                name: series.name.to_string(),
                unit: series.unit.to_string(),
                labels: series.labels.clone(),
                min: stats.min,
                max: stats.max,
                last: values.last().copied().unwrap_or(f64::NAN),
                count: stats.count,
                timestamp: Timestamp::from_millis(
                    times.last().copied().unwrap_or(newest.sampled_ms),
                ),
            }
        });
        view.frame(
            EventId::new(epoch, last),
            &ServerMessage::Merged(Merged {
                epoch: epoch.to_string(),
                offset: last,
                first_offset: first,
                last_offset: last,
                data: data.collect(),
            }),
        )
    }
}

/// The form in which a tick travels.
#[derive(Serialize, Deserialize)]
struct TickForm {
    sampled_ms: i64,
    sent_ms: i64,
    series: Vec<SeriesForm>,
    values: Vec<f64>,
    pushed: Vec<PushedForm>,
}

#[derive(Serialize, Deserialize)]
struct SeriesForm {
    name: Arc<str>,
    unit: Arc<str>,
    labels: Labels,
}

#[derive(Serialize, Deserialize)]
struct PushedForm {
    tenant: Arc<str>,
    series: SeriesForm,
    value: f64,
    at_ms: i64,
}

impl SeriesForm {
    fn of(series: &Series) -> Self {
        Self {
            name: Arc::clone(&series.name),
            unit: Arc::clone(&series.unit),
            labels: series.labels.clone(),
        }
    }

    fn read(self) -> Series {
        Series::new(&self.name, &self.unit, self.labels)
    }
}

impl Portable for TickPayload {
    fn to_bytes(&self) -> Vec<u8> {
        let Self(tick) = self;
        let pushed = tick.pushed.iter().map(|pushed| PushedForm {
            tenant: Arc::clone(&pushed.tenant),
            series: SeriesForm::of(&pushed.series),
            value: pushed.value,
            at_ms: pushed.at_ms,
        });
        portable::write(&TickForm {
            sampled_ms: tick.sampled_ms,
            sent_ms: tick.sent_ms,
            series: tick.series.iter().map(SeriesForm::of).collect(),
            values: tick.values.to_vec(),
            pushed: pushed.collect(),
        })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, NotPortable> {
        let form: TickForm = portable::read(bytes)?;
        let pushed = form.pushed.into_iter().map(|pushed| Pushed {
            tenant: pushed.tenant,
            series: Arc::new(pushed.series.read()),
            value: pushed.value,
            at_ms: pushed.at_ms,
        });
        let tick = Tick {
            sampled_ms: form.sampled_ms,
            sent_ms: form.sent_ms,
            series: form.series.into_iter().map(SeriesForm::read).collect(),
            values: form.values.into(),
            pushed: pushed.collect(),
        };
        Ok(Self(Arc::new(tick)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_feed::Epoch;
    use pulseboard_shared::codec::Encoding;

    use super::*;
    use crate::ticks::window::built_in_series;

    fn series() -> impl Strategy<Value = Series> {
        let labels = prop::collection::btree_map("[a-z]{1,4}", any::<String>(), 0..3);
        ("[a-z_]{1,12}", any::<String>(), labels)
            .prop_map(|(name, unit, labels)| Series::new(&name, &unit, labels))
    }

    proptest! {
        #[test]
        fn what_was_read_back_looks_the_same(
            (sampled_ms, sent_ms) in (0..4_000_000_000_000_i64, 0..4_000_000_000_000_i64),
            (epoch, offset) in any::<(u64, u64)>(),
            measured in prop::collection::vec((series(), prop::num::f64::ANY), 0..4),
            pushed in prop::collection::vec((series(), prop::num::f64::ANY), 0..4),
        ) {
            let tenant: Arc<str> = "shop".into();
            let built_in = built_in_series();
            let measured = built_in.zip([1.5, f64::NAN, -0.0, 0.1]).chain(measured);
            let (series, values): (Vec<Series>, Vec<f64>) = measured.unzip();
            let pushed: Vec<Pushed> = pushed
                .into_iter()
                .map(|(series, value)| Pushed {
                    tenant: Arc::clone(&tenant),
                    series: Arc::new(series),
                    value,
                    at_ms: sampled_ms,
                })
                .collect();
            let names = series.iter().map(|series| &series.key);
            let names = names.chain(pushed.iter().map(|pushed| &pushed.series.key));
            let names: Vec<Arc<str>> = names.map(|name| Arc::from(&**name)).collect();
            let tick = Tick {
                sampled_ms,
                sent_ms,
                series: series.into(),
                values: values.into(),
                pushed: pushed.into(),
            };
            let payload = TickPayload(Arc::new(tick));
            let at = At { epoch: Epoch(epoch), offset };
            let read = TickPayload::from_bytes(&payload.to_bytes()).expect("it is one");
            for wire in [
                Framing::WebSocket(Encoding::Json),
                Framing::WebSocket(Encoding::Binary),
                Framing::SseChunked,
                Framing::SsePlain,
            ] {
                for names in [Vec::new(), names.clone()] {
                    let selection = Selection::new(Arc::clone(&tenant), names).map(Arc::new);
                    let view = TickView { selection, wire };
                    prop_assert_eq!(read.encode(at, &view), payload.encode(at, &view));
                }
            }
        }
    }
}
