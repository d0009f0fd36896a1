//! What one viewer saw, and whether it may follow on what it saw before. Pure.

use serde_json::Value;

use crate::Notes;

/// Figures in one tick: the four that are the service's.
const FIGURES: usize = 4;

/// Problems that are kept; one is enough to fail, and the first says most.
const PROBLEMS_MAX: usize = 5;

/// What one viewer saw so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The newest place.
    pub epoch: String,
    /// The newest place.
    pub offset: u64,
    /// Ticks or messages that came, each by itself or in what was missed.
    pub frames: u64,
    /// Epochs, in the order in which they began.
    pub epochs: Vec<String>,
    /// Snapshots under an epoch that was known: what lay between was held no more.
    pub snapshots: usize,
    /// Times that it was too slow, and was told so.
    pub merged: usize,
    /// A member of rooms was told that something is missing, and not in which of them.
    may_jump: bool,
    /// What may not be.
    pub problems: Vec<String>,
}

impl Seen {
    /// Takes in a message of the tick stream.
    pub fn tick(&mut self, message: &Value, notes: &Notes, by: &str) {
        let kind = message["type"].as_str().unwrap_or_default();
        if !matches!(kind, "initial" | "resumed" | "metrics" | "merged") {
            if kind == "error" {
                self.problem(by, format!("it was told {message}"));
            }
            return;
        }
        let offset = message["offset"].as_u64().unwrap_or_default();
        if kind == "merged" {
            let first = message["first_offset"].as_u64().unwrap_or_default();
            self.follows(by, kind, (&self.epoch.clone(), first));
            self.offset = offset;
            self.merged += 1;
            return;
        }
        let epoch = message["epoch"].as_str().unwrap_or_default();
        let data = message["data"].as_array().map_or(&[][..], Vec::as_slice);
        let ticks = data.chunks(FIGURES);
        let count = ticks.len() as u64;
        let first = (offset + 1).saturating_sub(count);
        for (offset, tick) in (first..).zip(ticks) {
            let content = Value::from(tick).to_string();
            if let Err(problem) = notes.note(("tick", epoch, offset), &content, by) {
                self.problem(by, problem);
            }
        }
        if kind == "initial" {
            self.begins(by, epoch, offset);
        } else {
            self.follows(by, kind, (epoch, first));
        }
        self.frames += count;
        (self.epoch, self.offset) = (epoch.to_owned(), offset);
    }

    /// Takes in a message of a tenant's room; what is no member's is passed over.
    pub fn room(&mut self, message: &Value, notes: &Notes, tenant: &str, by: &str) {
        let offset = message["offset"].as_u64().unwrap_or_default();
        let epoch = message["epoch"].as_str();
        match (message["type"].as_str().unwrap_or_default(), epoch) {
            ("message", Some(epoch)) => {
                let channel = message["channel"].as_str().unwrap_or_default();
                let feed = format!("{channel} of {tenant}");
                let content = message["data"].to_string();
                if let Err(problem) = notes.note((&feed, epoch, offset), &content, by) {
                    self.problem(by, problem);
                }
                if self.epoch != epoch {
                    self.epochs.push(epoch.to_owned());
                } else if !self.may_jump || offset <= self.offset {
                    self.follows(by, "message", (epoch, offset));
                }
                self.may_jump = false;
                self.frames += 1;
                (self.epoch, self.offset) = (epoch.to_owned(), offset);
            }
            ("merged", Some(epoch)) => {
                self.begins(by, epoch, offset);
                (self.epoch, self.offset) = (epoch.to_owned(), offset);
            }
            ("merged", None) => {
                // It does not say of which room: everybody is in the dashboard's, too.
                self.merged += 1;
                self.may_jump = true;
            }
            _ => {}
        }
    }

    fn begins(&mut self, by: &str, epoch: &str, offset: u64) {
        if self.epoch != epoch {
            self.epochs.push(epoch.to_owned());
            return;
        }
        self.snapshots += 1;
        if offset < self.offset {
            let before = self.offset;
            self.problem(
                by,
                format!("it had {before} and is back at {offset} of {epoch}"),
            );
        }
    }

    fn follows(&mut self, by: &str, kind: &str, (epoch, first): (&str, u64)) {
        if (epoch, first) != (&*self.epoch, self.offset + 1) {
            let had = format!("{} of {}", self.offset, self.epoch);
            self.problem(
                by,
                format!("it had {had} and got {kind} from {first} of {epoch} on"),
            );
        }
    }

    fn problem(&mut self, by: &str, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(format!("{by}: {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(kind: &str, epoch: &str, offset: u64, ticks: usize) -> Value {
        let first = offset + 1 - ticks as u64;
        let data: Vec<Value> = (first..=offset)
            .flat_map(|offset| (0..FIGURES).map(move |figure| json!([epoch, offset, figure])))
            .collect();
        json!({"type": kind, "epoch": epoch, "offset": offset, "data": data})
    }

    fn seen(messages: &[Value]) -> Seen {
        let mut seen = Seen::default();
        for message in messages {
            seen.tick(message, &Notes::default(), "me");
        }
        seen
    }

    #[test]
    fn what_follows_is_right() {
        let right = seen(&[
            message("initial", "1", 10, 3),
            message("metrics", "1", 11, 1),
            json!({"type": "pong"}),
            message("resumed", "1", 14, 3),
            message("resumed", "1", 14, 0),
            message("initial", "9", 4, 4),
            message("metrics", "9", 5, 1),
        ]);
        assert_eq!(right.problems, Vec::<String>::new());
        assert_eq!((right.frames, right.epochs.len()), (12, 2));
        assert_eq!(right.snapshots, 0);
    }

    #[test]
    fn gaps_doubles_and_steps_back_are_told() {
        for (second, wrong) in [
            (message("metrics", "1", 12, 1), 1),
            (message("metrics", "1", 10, 1), 1),
            (message("resumed", "1", 13, 2), 1),
            (message("metrics", "2", 11, 1), 1),
            (message("initial", "1", 9, 1), 1),
            (message("initial", "1", 20, 1), 0),
            (message("metrics", "1", 11, 1), 0),
        ] {
            let seen = seen(&[message("initial", "1", 10, 1), second.clone()]);
            assert_eq!(seen.problems.len(), wrong, "{second}: {seen:?}");
        }
    }

    #[test]
    fn a_room_is_followed_likewise() {
        let said = |epoch: &str, offset: u64| {
            json!({
                "type": "message", "channel": "r", "data": offset,
                "epoch": epoch, "offset": offset,
            })
        };
        let notes = Notes::default();
        let mut seen = Seen::default();
        let anew = json!({"type": "merged", "offset": 8, "first_offset": 1, "epoch": "2"});
        for message in [said("1", 4), said("1", 5), anew, said("2", 9)] {
            seen.room(&message, &notes, "t", "me");
        }
        assert_eq!(seen.problems, Vec::<String>::new());
        let missing = json!({"type": "merged", "offset": 300, "first_offset": 200});
        for message in [missing, said("2", 12), said("2", 13)] {
            seen.room(&message, &notes, "t", "me");
        }
        assert_eq!(seen.problems, Vec::<String>::new());
        seen.room(&said("2", 15), &notes, "t", "me");
        assert_eq!(seen.problems.len(), 1);
    }
}
