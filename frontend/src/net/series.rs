//! Series as the server tells of them: in a list, and line by line with what they were.

use pulseboard_shared::ALERT_SERIES;

use super::json::Json;

/// One series as the server lists it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// `name{label="value",…}`: also the selector of just this one.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Unit of its figures; often empty.
    pub unit: String,
    /// `gauge`, `counter`, `distribution` or `unknown`.
    pub kind: String,
    /// The server says that it has stopped.
    pub stopped: bool,
    /// The server measured it itself; it was not pushed.
    pub own: bool,
    /// Milliseconds between samples; `None` before the second.
    pub interval_ms: Option<f64>,
    /// Newest figure; NaN for what is no finite number.
    pub last: f64,
    /// When that was.
    pub last_ms: f64,
    /// Growth a second, of a counter.
    pub rate: Option<f64>,
    /// Means of equal stretches, oldest first; NaN where there was nothing.
    pub spark: Vec<f64>,
}

impl Series {
    /// Reads one; `None` for what has no key.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        Some(Self {
            key: json.get("key").text()?.to_owned(),
            name: json.text_of("name").to_owned(),
            unit: json.text_of("unit").to_owned(),
            kind: json.text_of("kind").to_owned(),
            stopped: json.text_of("state") == "stopped",
            own: json.get("own").is_true(),
            interval_ms: json.get("interval_ms").number(),
            last: json.get("last").figure(),
            last_ms: json.get("last_ms").number().unwrap_or(0.0),
            rate: json.get("rate").number(),
            spark: json.get("spark").list().iter().map(Json::figure).collect(),
        })
    }

    /// What follows the name in the key: the labels in braces, or nothing.
    #[must_use]
    pub fn labels(&self) -> &str {
        self.key.strip_prefix(self.name.as_str()).unwrap_or("")
    }

    /// Somebody pushed it: neither this server measures it, nor do its rules write it.
    #[must_use]
    pub fn is_pushed(&self) -> bool {
        !self.own && !ALERT_SERIES.contains(&self.name.as_str())
    }
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Unix milliseconds.
    pub t_ms: f64,
    /// NaN for what is no finite number.
    pub value: f64,
}

impl Sample {
    /// Reads `[ms, value]`.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        let [t_ms, value] = json.list() else {
            return None;
        };
        Some(Self {
            t_ms: t_ms.number()?,
            value: value.figure(),
        })
    }
}

/// One step of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its beginning, Unix milliseconds.
    pub t_ms: f64,
    /// NaN when no sample was a number.
    pub mean: f64,
    /// The least sample; NaN when none was a number.
    pub least: f64,
    /// The greatest sample; NaN when none was a number.
    pub greatest: f64,
    /// Samples in it that are no finite numbers.
    pub odd: u32,
    /// How many samples the mean is of; 0 where that is not known.
    pub count: f64,
}

impl Step {
    fn read(json: &Json) -> Option<Self> {
        let [t_ms, mean, least, greatest] = json.list() else {
            return None;
        };
        Some(Self {
            t_ms: t_ms.number()?,
            mean: mean.figure(),
            least: least.figure(),
            greatest: greatest.figure(),
            odd: u32::from(!mean.figure().is_finite()),
            count: 0.0,
        })
    }

    /// Of a single figure.
    pub(crate) fn of(t_ms: f64, value: f64) -> Self {
        let odd = u32::from(!value.is_finite());
        let value = if odd > 0 { f64::NAN } else { value };
        Self {
            t_ms,
            mean: value,
            least: value,
            greatest: value,
            odd,
            count: f64::from(1 - odd),
        }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// `name{label="value",…}`.
    pub key: String,
    /// Unit of its figures; often empty.
    pub unit: String,
    /// Oldest first.
    pub steps: Vec<Step>,
    /// The newest figure as it came. Never of a step: that is a mean, and of its beginning.
    pub last: Option<Sample>,
    /// Between live samples, smoothed; `None` before the second.
    pub pace_ms: Option<f64>,
}

impl Line {
    /// Reads a series of a range or of a watch.
    #[must_use]
    pub fn read(json: &Json) -> Self {
        let points = json.get("points").list().iter();
        let mut counts = json.get("counts").list().iter();
        let read = |point: &Json| {
            let count = counts.next().and_then(Json::number);
            let step = Step::read(point)?;
            Some(Step {
                count: count.unwrap_or(0.0),
                ..step
            })
        };
        let mut steps: Vec<Step> = points.filter_map(read).collect();
        for odd in json.get("not_finite").list() {
            let [t_ms, count] = odd.list() else {
                continue;
            };
            let (Some(t_ms), Some(count)) = (t_ms.number(), count.count()) else {
                continue;
            };
            let place = steps.partition_point(|step| step.t_ms < t_ms);
            if steps.get(place).is_none_or(|step| step.t_ms != t_ms) {
                steps.insert(place, Step::of(t_ms, f64::NAN));
            }
            steps[place].odd = u32::try_from(count).unwrap_or(u32::MAX);
        }
        Self {
            key: json.text_of("key").to_owned(),
            unit: json.text_of("unit").to_owned(),
            last: json.get("newest").list().first().and_then(Sample::read),
            steps,
            pace_ms: None,
        }
    }

    /// Reads what is said of the series that are not told one by one.
    #[must_use]
    pub fn read_others(json: &Json) -> Option<Self> {
        let points = json.get("points").list().iter();
        let steps = points.filter_map(|point| {
            let [t_ms, least, mean, greatest] = point.list() else {
                return None;
            };
            let mut step = Step::of(t_ms.number()?, mean.figure());
            (step.least, step.greatest) = (least.figure(), greatest.figure());
            Some(step)
        });
        let steps: Vec<Step> = steps.collect();
        (!steps.is_empty()).then(|| Self {
            steps,
            ..Self::default()
        })
    }
}
