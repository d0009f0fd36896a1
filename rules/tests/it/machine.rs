//! The state machine against a model that looks at the whole history at once.

use proptest::prelude::*;
use pulseboard_promql::Labels;
use pulseboard_rules::{
    Event, Period, Rule, State,
    state::{Annotations, Expand, Machine, Seen},
};

use crate::support::{alert, labels};

struct Plain;

impl Expand for Plain {
    fn labels(&mut self, rule: &Rule, source: &Labels, _: f64) -> Labels {
        source.nameless().with("alertname", &rule.spec().alert)
    }

    fn annotations(&mut self, _: &Rule, _: &Labels, _: f64) -> Annotations {
        Annotations::default()
    }
}

fn rule(hold_ms: i64, keep_ms: i64) -> Rule {
    let mut spec = alert("A", "a > 0", 0);
    spec.hold = Period::from_millis(hold_ms);
    spec.keep_firing_for = Period::from_millis(keep_ms);
    Rule::new(spec).expect("a rule")
}

fn seen(holds: bool) -> Seen {
    Seen {
        vector: if holds {
            vec![(labels("a{x=\"1\"}"), 1.0)]
        } else {
            Vec::new()
        },
        ..Seen::default()
    }
}

/// What happens, from the runs of evaluations at which it held.
fn model(times: &[i64], holds: &[bool], hold_ms: i64, keep_ms: i64) -> Vec<(i64, Event)> {
    let mut events = Vec::new();
    let mut at = 0;
    while at < holds.len() {
        if !holds[at] {
            at += 1;
            continue;
        }
        // An alert begins here. It fires at the first evaluation at which it holds, late enough.
        let begin = times[at];
        if hold_ms > 0 {
            events.push((begin, Event::Pending));
        }
        let mut fired = false;
        loop {
            while at < holds.len() && holds[at] {
                if !fired && times[at] - begin >= hold_ms {
                    fired = true;
                    events.push((times[at], Event::Firing));
                }
                at += 1;
            }
            if at == holds.len() {
                break;
            }
            // It does not hold. For how long?
            let since = times[at];
            let end = (at..holds.len())
                .take_while(|index| !holds[*index])
                .last()
                .unwrap()
                + 1;
            let over = (at..end).find(|index| times[*index] - since >= keep_ms || !fired);
            match over {
                Some(over) => {
                    let event = if fired {
                        Event::Resolved
                    } else {
                        Event::Dropped
                    };
                    events.push((times[over], event));
                    at = end;
                    break;
                }
                None => at = end,
            }
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_alert_does_what_the_model_says(
        steps in prop::collection::vec((any::<bool>(), 1..4_i64), 1..60),
        hold in 0..6_i64,
        keep in 0..6_i64,
    ) {
        let mut now = 1_000_000;
        let times: Vec<i64> = steps.iter().map(|(_, gap)| { now += gap * 10_000; now }).collect();
        let holds: Vec<bool> = steps.iter().map(|(holds, _)| *holds).collect();
        let (hold_ms, keep_ms) = (hold * 10_000, keep * 10_000);
        let rule = rule(hold_ms, keep_ms);
        let mut machine = Machine::new();
        let mut events = Vec::new();
        for (at_ms, holds) in times.iter().zip(&holds) {
            let changes = machine.step(&rule, *at_ms, seen(*holds), 0, &mut Plain).expect("a step");
            events.extend(changes.iter().map(|change| (*at_ms, change.event)));
            prop_assert!(machine.alerts().count() <= 1);
        }
        prop_assert_eq!(events, model(&times, &holds, hold_ms, keep_ms));
    }

    #[test]
    fn what_fires_is_said_and_said_again(
        steps in prop::collection::vec((any::<bool>(), 1..9_i64), 1..60),
        resend in 1..6_i64,
    ) {
        let rule = rule(0, 0);
        let mut machine = Machine::new();
        let (mut now, mut said): (i64, Option<(i64, State)>) = (1_000_000, None);
        let resend_ms = resend * 10_000;
        let mut resolved_ms = None;
        for (holds, gap) in steps {
            now += gap * 10_000;
            for change in machine.step(&rule, now, seen(holds), 0, &mut Plain).expect("a step") {
                match change.event {
                    Event::Firing => { said = None; resolved_ms = None; }
                    Event::Resolved => resolved_ms = Some(now),
                    _ => {}
                }
            }
            let due = machine.due(now, resend_ms, 15_000);
            let state = if holds { Some(State::Firing) } else { resolved_ms.map(|_| State::Inactive) };
            let is_kept = resolved_ms.is_none_or(|at: i64| now - at <= 15 * 60_000);
            let wanted = match (state, said) {
                (None, _) => false,
                (Some(_), _) if !is_kept => false,
                (Some(state), Some((at, told))) => told != state || at + resend_ms < now,
                (Some(_), None) => true,
            };
            prop_assert_eq!(due.len(), usize::from(wanted), "at {}: {:?} {:?}", now, state, said);
            if let (true, Some(state)) = (wanted, state) {
                said = Some((now, state));
                prop_assert_eq!(due[0].valid_until_ms, Some(now + 4 * resend_ms.max(15_000)));
            }
        }
    }
}

/// Labels that say something else at each evaluation, and are large.
struct Large(usize);

impl Expand for Large {
    fn labels(&mut self, _: &Rule, source: &Labels, value: f64) -> Labels {
        let text = format!("{value}{}", "x".repeat(self.0));
        source.nameless().with("alertname", "A").with("text", &text)
    }

    fn annotations(&mut self, _: &Rule, _: &Labels, _: f64) -> Annotations {
        Annotations::default()
    }
}

#[test]
fn alerts_of_a_rule_have_so_much_text_and_no_more() {
    let rule = rule(0, 0);
    let holding = |step: i64, count: i32| Seen {
        vector: (0..count)
            .map(|x| {
                let value = (step * 1_000) as f64 + f64::from(x);
                (labels(&format!("a{{x=\"{x}\"}}")), value)
            })
            .collect(),
        ..Seen::default()
    };
    let mut machine = Machine::new();
    let step = |machine: &mut Machine, at: i64, count: i32, bytes: usize| {
        machine.step(&rule, at, holding(at, count), 0, &mut Large(bytes))
    };
    let (why, _) = step(&mut machine, 1, 1, 300_000).expect_err("one is too large");
    assert!(why.contains("of at most 262144"), "{why}");
    let (why, _) = step(&mut machine, 2, 100, 200_000).expect_err("all are too large");
    assert!(why.contains("more than 16777216 bytes"), "{why}");
    // What is over is kept for fifteen minutes, but not without bound.
    for at in 3..40 {
        assert_eq!(step(&mut machine, at, 40, 100_000).map(drop), Ok(()));
        let bytes: usize = machine
            .alerts()
            .map(|alert| alert.labels.whole_bytes())
            .sum();
        assert!(bytes < 2 * 16_777_216 + 8_000_000, "{bytes}");
    }
    // Those that hold are there all the same.
    let firing = machine
        .alerts()
        .filter(|alert| alert.state == State::Firing);
    assert_eq!(firing.count(), 40);
}

#[test]
fn what_goes_on_firing_by_itself_has_a_bound_too() {
    let rule = rule(0, 3_600_000);
    let mut machine = Machine::new();
    let mut refused = 0;
    for at in 0..40 {
        let seen = Seen {
            vector: (0..40)
                .map(|x| (labels(&format!("a{{x=\"{x}\"}}")), f64::from(at * 100 + x)))
                .collect(),
            ..Seen::default()
        };
        let stepped = machine.step(&rule, i64::from(at), seen, 0, &mut Large(100_000));
        refused += usize::from(stepped.is_err());
        let bytes: usize = machine
            .alerts()
            .map(|alert| alert.labels.whole_bytes())
            .sum();
        assert!(bytes < 2 * 16_777_216 + 8_000_000, "{bytes}");
    }
    assert!(refused > 30, "{refused}");
}
