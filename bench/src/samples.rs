//! Made-up series and bodies of their samples, the same for every server that is measured.
//!
//! The n-th series has five labels, as a web service's counters have; its value walks in steps of
//! 0.1, as a percentage does. Or they are the series of an exposition, such as node_exporter's,
//! whose counters go on growing and whose other figures move about what they were.

use std::fmt::Write as _;

/// In which form samples are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Prometheus text, one sample a line, with a time in milliseconds.
    Prometheus,
    /// Influx line protocol, one field a line, with a time in nanoseconds.
    Influx,
    /// Prometheus remote write 1.0, snappy over protobuf.
    Remote,
}

/// The metric that all series belong to; with Influx the field `value` is behind it.
pub const NAME: &str = "bench_requests";

/// Label names in order, as remote write asks for.
const LABELS: [&str; 5] = ["code", "instance", "job", "method", "path"];

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const CODES: [&str; 5] = ["200", "201", "304", "404", "500"];

/// Values of the labels of the n-th series; no two series have the same.
#[must_use]
pub fn labels(number: usize) -> [(&'static str, String); 5] {
    let values = [
        CODES[number % 5].to_owned(),
        format!(
            "10.1.{}.{}:9100",
            number / 20 / 250 % 250,
            number / 20 % 250
        ),
        format!("service-{}", number / 20 / 62_500),
        METHODS[number / 5 % 4].to_owned(),
        format!("/api/v1/items/{}", number % 20),
    ];
    let mut values = values.into_iter();
    LABELS.map(|name| (name, values.next().unwrap_or_default()))
}

/// The value of a series at a step: tenths between 0 and 100 that move a little from step to step.
#[must_use]
pub fn value(number: usize, step: usize) -> f64 {
    let wave = |length: usize, height: usize| {
        let at = (step + number * 7) % (2 * length);
        at.min(2 * length - at) * height / length
    };
    // The mixing of splitmix64, so that the walk is none that a codec could foresee.
    let mut mixed = number as u64 ^ ((step as u64) << 20);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    let noise = usize::try_from(mixed >> 61).unwrap_or_default();
    let tenths = wave(300, 600) + wave(37, 200) + noise;
    f64::from(u32::try_from(tenths).unwrap_or_default()) / 10.0
}

/// Appends bodies; keeps the texts of the labels, which are the same in each.
#[derive(Debug)]
pub struct Writer {
    form: Form,
    /// Of each series: what stands before the value, in its form.
    heads: Vec<Box<[u8]>>,
    /// Of the series of an exposition; empty for made-up ones.
    scraped: Vec<Scraped>,
}

/// A figure of an exposition.
#[derive(Clone, Copy, Debug)]
struct Scraped {
    value: f64,
    grows: bool,
}

impl Scraped {
    /// What it is so many steps later: a counter grows at a pace of its own, with pauses; another
    /// figure is now a hundredth more, now less.
    fn at(self, number: usize, step: usize) -> f64 {
        let moved = value(number, step);
        if self.grows {
            let steps = f64::from(u32::try_from(step - step % 3).unwrap_or_default());
            let pace = f64::from(u32::try_from(number % 17).unwrap_or_default());
            return self.value + steps * pace * 0.25;
        }
        self.value * (1.0 + moved / 10_000.0)
    }
}

impl Writer {
    /// For that many series.
    #[must_use]
    pub fn new(form: Form, series: usize) -> Self {
        let heads = (0..series).map(|number| head(form, number)).collect();
        Self {
            form,
            heads,
            scraped: Vec::new(),
        }
    }

    /// For remote write of the series of a text exposition (Prometheus' text format 0.0.4), each
    /// with the labels `instance` and `job` beside its own, as if it had been scraped.
    #[must_use]
    pub fn of_exposition(text: &str, instance: &str, job: &str) -> Self {
        let (mut heads, mut scraped) = (Vec::new(), Vec::new());
        let mut grows = false;
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                grows = told.ends_with(" counter");
                continue;
            }
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Ok(value) = value.parse() else { continue };
            if line.starts_with('#') {
                continue;
            }
            let mut labels = labels_of(series);
            labels.push(("instance", instance.to_owned()));
            labels.push(("job", job.to_owned()));
            labels.sort();
            heads.push(remote_head(
                labels.iter().map(|(name, value)| (*name, &**value)),
            ));
            scraped.push(Scraped { value, grows });
        }
        Self {
            form: Form::Remote,
            heads,
            scraped,
        }
    }

    /// How many series it has.
    #[must_use]
    pub fn series(&self) -> usize {
        self.heads.len()
    }

    fn value(&self, number: usize, step: usize) -> f64 {
        match self.scraped.get(number) {
            Some(scraped) => scraped.at(number, step),
            None => value(number, step),
        }
    }

    /// A body of one sample each of these series.
    ///
    /// # Errors
    /// It cannot be packed.
    pub fn body(
        &self,
        series: std::ops::Range<usize>,
        step: usize,
        at_ms: i64,
    ) -> Result<Vec<u8>, snap::Error> {
        let mut body = Vec::with_capacity(series.len() * 160);
        for number in series {
            let Some(head) = self.heads.get(number) else {
                break;
            };
            self.sample(&mut body, head, self.value(number, step), at_ms);
        }
        match self.form {
            Form::Remote => snap::raw::Encoder::new().compress_vec(&body),
            Form::Prometheus | Form::Influx => Ok(body),
        }
    }

    /// A body of many samples of one series; only in the text forms.
    #[must_use]
    pub fn run(&self, number: usize, steps: impl Iterator<Item = (usize, i64)>) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(head) = self.heads.get(number) {
            for (step, at_ms) in steps {
                self.sample(&mut body, head, self.value(number, step), at_ms);
            }
        }
        body
    }

    fn sample(&self, body: &mut Vec<u8>, head: &[u8], value: f64, at_ms: i64) {
        match self.form {
            Form::Prometheus => {
                body.extend_from_slice(head);
                body.extend_from_slice(format!("{value} {at_ms}\n").as_bytes());
            }
            Form::Influx => {
                body.extend_from_slice(head);
                body.extend_from_slice(format!("{value} {at_ms}000000\n").as_bytes());
            }
            Form::Remote => {
                let mut sample = vec![0x09];
                sample.extend_from_slice(&value.to_le_bytes());
                sample.push(0x10);
                put_varint(&mut sample, at_ms.unsigned_abs());
                body.push(0x0a);
                put_varint(body, (head.len() + sample.len() + 2) as u64);
                body.extend_from_slice(head);
                body.push(0x12);
                put_varint(body, sample.len() as u64);
                body.extend_from_slice(&sample);
            }
        }
    }
}

fn head(form: Form, number: usize) -> Box<[u8]> {
    let labels = labels(number);
    match form {
        Form::Prometheus => {
            let mut text = format!("{NAME}_value{{");
            for (at, (name, value)) in labels.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                // Writing to a text cannot fail.
                write!(text, "{comma}{name}=\"{value}\"").ok();
            }
            text.push_str("} ");
            text.into_bytes().into()
        }
        Form::Influx => {
            let mut text = NAME.to_owned();
            for (name, value) in &labels {
                write!(text, ",{name}={value}").ok();
            }
            text.push_str(" value=");
            text.into_bytes().into()
        }
        Form::Remote => {
            let name = format!("{NAME}_value");
            let labels = labels.iter().map(|(name, value)| (*name, &**value));
            remote_head(std::iter::once(("__name__", &*name)).chain(labels))
        }
    }
}

/// The labels of a series as remote write has them (prompb `TimeSeries.labels`).
fn remote_head<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Box<[u8]> {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        for (field, text) in [(0x0a, name), (0x12, value)] {
            label.push(field);
            put_varint(&mut label, text.len() as u64);
            label.extend_from_slice(text.as_bytes());
        }
        bytes.push(0x0a);
        put_varint(&mut bytes, label.len() as u64);
        bytes.extend_from_slice(&label);
    }
    bytes.into()
}

/// Name and labels of a series as an exposition writes them.
fn labels_of(series: &str) -> Vec<(&str, String)> {
    let (name, mut left) = series.split_once('{').unwrap_or((series, ""));
    let mut labels = vec![("__name__", name.to_owned())];
    while let Some((name, rest)) = left.split_once("=\"") {
        let mut value = String::new();
        let mut escaped = false;
        let mut end = rest.len();
        for (at, one) in rest.char_indices() {
            match (escaped, one) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = at;
                    break;
                }
                (true, 'n') => {
                    value.push('\n');
                    escaped = false;
                }
                (_, one) => {
                    value.push(one);
                    escaped = false;
                }
            }
        }
        labels.push((name.trim_start_matches([',', ' ']), value));
        left = rest.get(end + 1..).unwrap_or_default();
    }
    labels
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_exposition_becomes_series() {
        let text = "# HELP a_total What it is.\n# TYPE a_total counter\n\
            a_total{path=\"/a\\\"b,c=\\\\\",x=\"\"} 5\n# TYPE b gauge\nb 1e+06\n";
        let labels = labels_of("a_total{path=\"/a\\\"b,c=\\\\\",x=\"\"}");
        let expected = [("__name__", "a_total"), ("path", "/a\"b,c=\\"), ("x", "")];
        assert_eq!(
            labels,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
        let writer = Writer::of_exposition(text, "here:9100", "node");
        assert_eq!(writer.series(), 2);
        assert_eq!(writer.value(0, 0), 5.0);
        let values: Vec<f64> = (0..100).map(|step| writer.value(0, step)).collect();
        assert!(values.is_sorted(), "a counter never falls: {values:?}");
        assert!(writer.value(1, 50) > 9e5 && writer.value(1, 50) < 1.1e6);
        assert!(
            writer
                .body(0..2, 1, 1_000)
                .is_ok_and(|body| !body.is_empty())
        );
    }

    #[test]
    fn no_two_series_are_the_same() {
        let all: HashSet<_> = (0..50_000).map(labels).collect();
        assert_eq!(all.len(), 50_000);
        assert_ne!(labels(0), labels(1_250_000));
    }

    #[test]
    fn bodies_are_what_they_are_called() {
        let text = |form| Writer::new(form, 3).body(1..2, 0, 1_700_000_000_000);
        let text = |form| String::from_utf8(text(form).expect("packed")).expect("text");
        let value = value(1, 0);
        assert_eq!(
            text(Form::Prometheus),
            format!(
                "bench_requests_value{{code=\"201\",instance=\"10.1.0.0:9100\",job=\"service-0\",method=\"GET\",path=\"/api/v1/items/1\"}} {value} 1700000000000\n"
            )
        );
        assert_eq!(
            text(Form::Influx),
            format!(
                "bench_requests,code=201,instance=10.1.0.0:9100,job=service-0,method=GET,path=/api/v1/items/1 value={value} 1700000000000000000\n"
            )
        );
    }
}
