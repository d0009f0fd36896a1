//! A week of ten thousand series that come and go as chance has it, of two tenants with the same
//! rules, against a model that walks through each series by itself; with a restart now and then.

use std::collections::BTreeMap;

use pulseboard_promql::{
    EvalError, Labels, Samples, Storage,
    ast::{MatchOp, Matcher},
    storage::{Hints, Unguarded},
};
use pulseboard_rules::{Env, Event, Group, GroupSpec, Outcome, Period, RuleSpec, keep::KeptGroup};

use crate::support::{DEFAULTS, alert, env, labels, spec};

/// The first evaluation.
const BEGIN_MS: i64 = 1_700_000_100_000;

/// Between two evaluations.
const STEP_MS: i64 = 15 * 60_000;

/// A week of them.
const STEPS: usize = 7 * 24 * 4;

/// Series of one rule of one tenant.
const OF_RULE: usize = 1_000;

/// Whoever was told of an alert is told again after so long.
const RESEND_MS: i64 = 4 * 3_600_000;

/// What is over is said again for so long.
const RESOLVED_KEPT_MS: i64 = 15 * 60_000;

/// A rule of each kind: how long it holds and keeps, in steps, and below what it is over.
struct Kind {
    name: &'static str,
    hold: i64,
    keep: i64,
    clear: Option<f64>,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "AtOnce",
        hold: 0,
        keep: 0,
        clear: None,
    },
    Kind {
        name: "Held",
        hold: 3,
        keep: 0,
        clear: None,
    },
    Kind {
        name: "Kept",
        hold: 0,
        keep: 4,
        clear: None,
    },
    Kind {
        name: "HeldAndKept",
        hold: 2,
        keep: 3,
        clear: None,
    },
    Kind {
        name: "Cleared",
        hold: 1,
        keep: 0,
        clear: Some(30.0),
    },
];

/// Above this an alert holds.
const LIMIT: f64 = 60.0;

/// Steps after which everything is started anew, from what was kept.
const RESTARTS: [usize; 5] = [17, 111, 300, 500, 501];

/// SplitMix64: chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn below_usize(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}

/// What a series says at each step; `None` where it says nothing. Long calm, then a fit of ups and
/// downs, each of a step or a few.
fn course(chance: &mut Chance) -> Vec<Option<f64>> {
    let mut values = Vec::with_capacity(STEPS);
    while values.len() < STEPS {
        let calm = 10 + chance.below_usize(230);
        values.extend(std::iter::repeat_n(Some(10.0), calm));
        for _ in 0..chance.below(8) {
            let value = match chance.below(8) {
                0..4 => Some(90.0),
                4..6 => Some(45.0),
                6 => Some(20.0),
                _ => None,
            };
            let long = 1 + chance.below_usize(6);
            values.extend(std::iter::repeat_n(value, long));
        }
    }
    values.truncate(STEPS);
    values
}

/// One tenant's series, each at the step that is asked for.
struct Series {
    labels: Vec<Vec<Labels>>,
    /// Of each kind's series, what it says.
    courses: Vec<Vec<Vec<Option<f64>>>>,
}

impl Series {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let of_kind = |kind: &Kind| -> Vec<Labels> {
            (0..OF_RULE)
                .map(|at| labels(&format!("load{{i=\"{at:04}\",of=\"{}\"}}", kind.name)))
                .collect()
        };
        let mut courses = || (0..OF_RULE).map(|_| course(&mut chance)).collect();
        Self {
            labels: KINDS.iter().map(of_kind).collect(),
            courses: KINDS.iter().map(|_| courses()).collect(),
        }
    }
}

impl Storage for Series {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let of = matchers.iter().find(|one| &*one.name == "of").unwrap();
        assert!(
            of.op == MatchOp::Equal && matchers.len() == 2,
            "{matchers:?}"
        );
        let kind = KINDS.iter().position(|kind| kind.name == &*of.value);
        let kind = kind.unwrap();
        let step = usize::try_from((hints.until_ms - BEGIN_MS) / STEP_MS).unwrap();
        let mut samples = Samples::default();
        for (labels, course) in self.labels[kind].iter().zip(&self.courses[kind]) {
            if let Some(value) = course[step] {
                samples.clear();
                samples.push(hints.until_ms, value);
                each(labels.clone(), &samples)?;
            }
        }
        Ok(())
    }
}

fn rules() -> GroupSpec {
    let rule = |kind: &Kind| -> RuleSpec {
        let of = format!("load{{of=\"{}\"}}", kind.name);
        let steps = |steps: i64| Period::from_millis(steps * STEP_MS);
        RuleSpec {
            hold: steps(kind.hold),
            keep_firing_for: steps(kind.keep),
            clear: kind
                .clear
                .map(|clear| pulseboard_rules::Clear::Expr(format!("{of} < {clear}"))),
            ..alert(kind.name, &format!("{of} > {LIMIT}"), 0)
        }
    };
    let mut spec = spec(KINDS.iter().map(rule).collect());
    spec.interval = Some(Period::from_millis(STEP_MS));
    spec
}

/// What becomes of one series: the step, and what.
type Told = Vec<(usize, Event)>;

/// What is to be seen of one series at one step.
#[derive(Clone, Copy, Default)]
struct Shown {
    is_active: bool,
    is_firing: bool,
    /// It is said now.
    is_said: bool,
}

/// One series by itself, with nothing but counters.
fn model(kind: &Kind, course: &[Option<f64>]) -> (Told, Vec<Shown>) {
    let (mut told, mut shown) = (Vec::new(), Vec::with_capacity(course.len()));
    // Steps for which it has held, and for which it has not; when it was said last; when it was
    // over.
    let (mut held, mut off, mut is_firing) = (None::<i64>, 0_i64, false);
    let (mut said, mut over) = (None::<i64>, None::<i64>);
    for (step, value) in course.iter().enumerate() {
        let now = i64::try_from(step).unwrap();
        let is_above = value.is_some_and(|value| value > LIMIT);
        // A series with a limit of its own below holds on until it is there, or gone.
        let holds_on = is_firing
            && kind
                .clear
                .is_some_and(|clear| value.is_some_and(|value| value >= clear));
        if is_above || holds_on {
            off = 0;
            let since = *held.get_or_insert_with(|| {
                if kind.hold > 0 {
                    told.push((step, Event::Pending));
                }
                now
            });
            if !is_firing && now - since >= kind.hold {
                is_firing = true;
                told.push((step, Event::Firing));
                (said, over) = (None, None);
            }
        } else if held.is_some() {
            off += 1;
            if !is_firing {
                told.push((step, Event::Dropped));
                held = None;
            } else if off > kind.keep {
                told.push((step, Event::Resolved));
                (held, is_firing, said, over) = (None, false, None, Some(now));
            }
        }
        if over.is_some_and(|over| (now - over) * STEP_MS > RESOLVED_KEPT_MS) {
            over = None;
        }
        // A new one in the place of one that is over: nothing more is said of that.
        if held.is_some() && !is_firing {
            over = None;
        }
        let is_due = said.is_none_or(|said| (now - said) * STEP_MS > RESEND_MS);
        let is_said = (is_firing || over.is_some()) && is_due;
        if is_said {
            said = Some(now);
        }
        shown.push(Shown {
            is_active: held.is_some(),
            is_firing,
            is_said,
        });
    }
    (told, shown)
}

/// How many samples of an evaluation are said, and how many end a series, by the model.
fn written(before: Option<&Shown>, now: &Shown) -> (usize, usize) {
    let before = before.copied().unwrap_or_default();
    let gone = match (before.is_active, now.is_active) {
        (true, false) => 2,
        // `ALERTS` has another state.
        (true, true) if before.is_firing != now.is_firing => 1,
        _ => 0,
    };
    (usize::from(now.is_active) * 2, gone)
}

/// One tenant: its group, and what was told of each series.
struct Tenant {
    series: Series,
    group: Group,
    told: BTreeMap<(usize, usize), Told>,
}

impl Tenant {
    fn new(seed: u64) -> Self {
        Self {
            series: Series::new(seed),
            group: Group::new("rules.yml", &rules(), DEFAULTS).unwrap(),
            told: BTreeMap::new(),
        }
    }

    fn evaluate(&mut self, step: usize) -> Vec<Outcome> {
        let nothing = crate::support::Store::default();
        let env = Env {
            storage: &self.series,
            guard: &Unguarded,
            resend_delay_ms: RESEND_MS,
            ..env(&nothing)
        };
        let at_ms = BEGIN_MS + i64::try_from(step).unwrap() * STEP_MS;
        let all = 0..self.group.len();
        all.map(|rule| self.group.evaluate_rule(rule, at_ms, &env))
            .collect()
    }

    /// As after a kill: nothing but what was kept is there.
    fn restart(&mut self, step: usize) {
        let kept = serde_json::to_string(&self.group.kept()).unwrap();
        let kept: KeptGroup = serde_json::from_str(&kept).unwrap();
        self.group = Group::new("rules.yml", &rules(), DEFAULTS).unwrap();
        let at_ms = BEGIN_MS + i64::try_from(step).unwrap() * STEP_MS + 1;
        let ended = self.group.take_back(&kept, at_ms);
        assert_eq!(ended, [], "every rule is there again");
    }
}

fn number(labels: &Labels) -> usize {
    labels.get("i").parse().unwrap()
}

/// What the model says of each series of each kind.
type Modelled = Vec<Vec<(Told, Vec<Shown>)>>;

#[test]
fn a_week_of_flapping_is_as_the_model_has_it() {
    let began = std::time::Instant::now();
    let mut tenants = [1, 2].map(Tenant::new);
    let models: Vec<Modelled> = tenants
        .iter()
        .map(|tenant| {
            let kinds = KINDS.iter().zip(&tenant.series.courses);
            let of_kind = |(kind, courses): (&Kind, &Vec<Vec<Option<f64>>>)| {
                courses.iter().map(|course| model(kind, course)).collect()
            };
            kinds.map(of_kind).collect()
        })
        .collect();
    let (mut said, mut changes) = (0, 0);
    for step in 0..STEPS {
        for (tenant, model) in tenants.iter_mut().zip(&models) {
            for (rule, outcome) in tenant.evaluate(step).into_iter().enumerate() {
                assert_eq!(outcome.error, None);
                let shown = model[rule].iter().map(|(_, shown)| {
                    let before = step.checked_sub(1).map(|before| &shown[before]);
                    (
                        written(before, &shown[step]),
                        usize::from(shown[step].is_said),
                    )
                });
                let expected = shown.fold((0, 0, 0), |sum, ((live, gone), said)| {
                    (sum.0 + live, sum.1 + gone, sum.2 + said)
                });
                let gone = outcome.samples.iter().filter(|one| one.is_stale()).count();
                let live = outcome.samples.len() - gone;
                let due = outcome.due.len();
                let name = KINDS[rule].name;
                assert_eq!((live, gone, due), expected, "{name} at step {step}");
                said += due;
                changes += outcome.changes.len();
                for change in outcome.changes {
                    let key = (rule, number(&change.alert.labels));
                    tenant
                        .told
                        .entry(key)
                        .or_default()
                        .push((step, change.event));
                }
            }
            if RESTARTS.contains(&step) {
                tenant.restart(step);
            }
        }
    }
    for (tenant, model) in tenants.iter().zip(&models) {
        for (rule, series) in model.iter().enumerate() {
            for (at, (expected, _)) in series.iter().enumerate() {
                let told = tenant.told.get(&(rule, at)).map_or(&[][..], Vec::as_slice);
                assert_eq!(told, expected, "series {at} of {}", KINDS[rule].name);
            }
        }
    }
    assert_ne!(tenants[0].told, tenants[1].told, "each has its own");
    assert!(
        changes > 100_000 && said > 50_000,
        "{changes} changes, {said} said"
    );
    eprintln!(
        "{STEPS} steps, {changes} changes, {said} said: {:?}",
        began.elapsed()
    );
}
