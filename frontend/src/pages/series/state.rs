//! What is said of an opened series: how it stands, what of it cannot be drawn, and how finely it
//! is kept.

use crate::{
    format,
    net::series::{Sample, Series},
    platform,
    stores::{
        series::{Opened, has_stopped, newest},
        track::Track,
    },
    words,
};

/// What is to be said in place of figures, or of some of them.
pub(super) fn odd_words(track: &Track, info: Option<&Series>) -> Option<String> {
    let [line] = track.lines.as_slice() else {
        return None;
    };
    let odd: u64 = line.steps.iter().map(|step| u64::from(step.odd)).sum();
    if odd > 0 && line.steps.iter().all(|step| !step.mean.is_finite()) {
        return Some(match odd {
            1 => format!("The only sample is {}", words::NOT_FINITE),
            odd => format!(
                "All {} samples are {}",
                format::grouped(odd),
                words::NOT_FINITE
            ),
        });
    }
    let newest = newest(info?, line.last);
    (!newest.value.is_finite()).then(|| format!("The newest sample is {}", words::NOT_FINITE))
}

/// Such as `Resolution: 1h from 21 Nov 2025, raw from 20 Nov 14:00`.
pub(super) fn resolution(opened: &Opened) -> Option<String> {
    let part = |(index, (from_ms, name)): (usize, &(f64, String))| {
        let name = if name == "raw" { "every sample" } else { name };
        if index == 0 {
            return name.to_owned();
        }
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let at_ms = *from_ms as i64;
        let offset_min = platform::zone_offset_min(*from_ms);
        format!(
            "{name} from {} {}",
            format::date(at_ms, offset_min),
            format::clock_minutes(at_ms, offset_min)
        )
    };
    let parts: Vec<String> = opened.stretches.iter().enumerate().map(part).collect();
    if parts.is_empty() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a step in milliseconds")]
    let step_ms = opened.track.step_ms as i64;
    let step = if step_ms < 1_000 {
        format!("{step_ms} ms")
    } else {
        format::duration(step_ms)
    };
    let unknown = if opened.is_coarse() {
        [" · ", words::NAN_NOT_KEPT].concat()
    } else {
        String::new()
    };
    Some(format!(
        "Shown in steps of {step} · kept as: {}{unknown}",
        parts.join(", ")
    ))
}

/// How one series stands now.
pub(super) struct Now {
    pub(super) value: f64,
    pub(super) stopped: bool,
    pub(super) words: String,
}

/// By what the server says of `info`, and by what came since. Never by a step of the history: its
/// figure is a mean, and its time the beginning of an hour or a day.
pub(super) fn state_of(info: &Series, heard: Option<Sample>, now_ms: f64) -> Now {
    let last = newest(info, heard);
    let stopped = if last.t_ms > info.last_ms {
        has_stopped(info.interval_ms, last.t_ms, now_ms)
    } else {
        info.stopped || has_stopped(info.interval_ms, last.t_ms, now_ms)
    };
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
    let age = format::duration((now_ms - last.t_ms) as i64);
    let words = if stopped {
        words::stopped(&age)
    } else if info.kind == "unknown" {
        format!("{age} ago")
    } else {
        format!("{} · {age} ago", info.kind)
    };
    Now {
        value: last.value,
        stopped,
        words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::series::Line;

    #[test]
    fn a_live_series_is_live_whatever_the_steps_are() {
        let info = Series {
            kind: "gauge".to_owned(),
            interval_ms: Some(30_000.0),
            last: 0.63,
            last_ms: 1_000_000.0,
            ..Series::default()
        };
        // Steps of a day begin hours ago; nothing was heard live yet.
        let now = state_of(&info, None, 1_012_000.0);
        assert_eq!(
            (now.value, now.stopped, now.words.as_str()),
            (0.63, false, "gauge · 12 s ago")
        );
        let heard = Sample {
            t_ms: 1_030_000.0,
            value: 2.0,
        };
        let now = state_of(&info, Some(heard), 1_031_000.0);
        assert_eq!((now.value, now.words.as_str()), (2.0, "gauge · 1 s ago"));
        let now = state_of(&info, Some(heard), 1_200_000.0);
        assert_eq!(
            (now.stopped, now.words.as_str()),
            (true, "Stopped 2 min 50 s ago")
        );
        // Its sender said that it ended, though it is young.
        let ended = Series {
            stopped: true,
            ..info
        };
        assert!(state_of(&ended, None, 1_001_000.0).stopped);
        assert!(!state_of(&ended, Some(heard), 1_031_000.0).stopped);
    }

    #[test]
    fn what_is_no_number_is_said() {
        let info = |last: f64| Series {
            last,
            last_ms: 9_000.0,
            ..Series::default()
        };
        let track = |json: &str| {
            let json = crate::net::json::Json::parse(json).expect("JSON");
            Track {
                lines: vec![Line::read(&json)],
                ..Track::default()
            }
        };
        let words = |track: &Track, last: f64| odd_words(track, Some(&info(last)));
        let good = track(r#"{"points":[[8000,5,5,5]],"not_finite":[[9000,1]]}"#);
        assert_eq!(
            words(&good, f64::NAN).as_deref(),
            Some("The newest sample is NaN or ±Inf")
        );
        assert_eq!(words(&good, 5.0), None);
        let none = track(r#"{"points":[],"not_finite":[[8000,29],[9000,1]]}"#);
        assert_eq!(
            words(&none, f64::NAN).as_deref(),
            Some("All 30 samples are NaN or ±Inf")
        );
        let one = track(r#"{"points":[],"not_finite":[[8000,1]]}"#);
        assert_eq!(
            words(&one, f64::NAN).as_deref(),
            Some("The only sample is NaN or ±Inf")
        );
        assert_eq!(words(&track(r#"{"points":[]}"#), 5.0), None);
        assert_eq!(odd_words(&Track::default(), None), None);
    }
}
