//! Records that are sent one after the other. Pure.
//!
//! ```text
//! released ──────────▶ done ──────────▶ taken ──────────▶ next
//!     │ held: sent, and │ on their way    │ to be sent      │
//!     │ may be again    │                 │                 │
//! ```

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::record::{Record, Sample};

/// Records of some series, numbered as they came.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Records before it are never sent again.
    released: u64,
    /// Records before it are done.
    done: u64,
    /// Records before it are done or on their way.
    taken: u64,
    is_under_way: bool,
    /// Records before it are gone, whatever becomes of what is on its way.
    gone: u64,
    /// Whether what is done is held until it is released.
    holds: bool,
    /// When what is on its way is back, what is held is to be sent again.
    goes_back: bool,
    /// Records before it were done once.
    known: u64,
    /// Samples of each record from `released` on.
    sizes: VecDeque<u16>,
    /// Samples that are not done, and that are held.
    waiting: u64,
    held: u64,
    /// The newest records, without a gap up to the last.
    recent: VecDeque<Arc<Record>>,
    recent_samples: usize,
    /// What was read from the log.
    loaded: VecDeque<Arc<Record>>,
    /// Since when something waits that is not on its way.
    since: Option<Instant>,
    /// When the oldest that waits came, as far as that is known; Unix milliseconds.
    oldest_ms: i64,
    /// What came and is no record yet.
    pub(crate) gathered: Vec<Sample>,
}

impl Lane {
    /// Holds what is done until it is released.
    pub(crate) fn hold(&mut self) {
        self.holds = true;
    }

    /// Records before `released` are never sent again, and those before `done` are done.
    pub(crate) fn begin(&mut self, released: u64, done: u64) {
        self.released = if self.holds { released.min(done) } else { done };
        (self.done, self.taken) = (done, done);
    }

    /// A record that the log has.
    pub(crate) fn found(&mut self, number: u64, samples: u64) {
        if self.sizes.is_empty() && number > self.released {
            self.begin(number, number.max(self.done));
        }
        while self.next() < number {
            // It is missing in the log.
            self.sizes.push_back(0);
        }
        if number == self.next() {
            let size = u16::try_from(samples).unwrap_or(u16::MAX);
            self.sizes.push_back(size);
            if number < self.done {
                self.held += u64::from(size);
            } else {
                self.waiting += u64::from(size);
                self.since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// The log has no more: of what was done it may have lost the newest, whose numbers are not
    /// given again.
    pub(crate) fn found_all(&mut self) {
        while self.next() < self.done {
            self.sizes.push_back(0);
        }
    }

    /// The number of the next record that comes.
    pub(crate) fn next(&self) -> u64 {
        self.released + self.sizes.len() as u64
    }

    pub(crate) fn released(&self) -> u64 {
        self.released
    }

    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Where it would begin after a restart: what is to go back has gone back.
    pub(crate) fn begins_at(&self) -> u64 {
        if self.goes_back {
            self.released
        } else {
            self.done
        }
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Whether what is on its way is to be sent once more, with what was before it.
    pub(crate) fn goes_back(&self) -> bool {
        self.goes_back
    }

    /// Whether a record was done once.
    pub(crate) fn was_done(&self, number: u64) -> bool {
        number < self.known
    }

    /// Samples that are not done.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Samples that are done and held.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// When the oldest that waits came, Unix milliseconds; `None` where nothing waits.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        (self.waiting > 0).then_some(self.oldest_ms)
    }

    /// From here on all is in memory.
    pub(crate) fn recent_from(&self) -> u64 {
        self.next() - self.recent.len() as u64
    }

    /// Takes a record in; its number is [`Lane::next`].
    pub(crate) fn push(&mut self, record: Record) {
        let samples = record.samples.len();
        let size = u16::try_from(samples).unwrap_or(u16::MAX);
        if self.waiting == 0 {
            self.oldest_ms = record.arrived_ms;
        }
        self.sizes.push_back(size);
        self.waiting += u64::from(size);
        self.recent_samples += samples;
        self.recent.push_back(Arc::new(record));
        self.since.get_or_insert_with(Instant::now);
    }

    /// Keeps no more than so many samples in memory; the oldest are in the log, or else gone.
    /// Returned are samples that are lost now.
    pub(crate) fn shorten(&mut self, samples_max: usize, is_logged: bool) -> u64 {
        let mut lost = 0;
        while self.recent_samples > samples_max && self.recent.len() > 1 {
            let Some(number) = self.forget_recent() else {
                break;
            };
            if !is_logged {
                lost += self.lose(number + 1);
            }
        }
        lost
    }

    /// The oldest record in memory is not kept there any more; its number.
    fn forget_recent(&mut self) -> Option<u64> {
        let record = self.recent.pop_front()?;
        self.recent_samples -= record.samples.len();
        Some(record.number)
    }

    /// Records before this one are gone. Returned are samples that are lost now; what is on its way
    /// may still arrive, and what is done has.
    pub(crate) fn lose(&mut self, before: u64) -> u64 {
        self.gone = self.gone.max(before.min(self.next()));
        if self.is_under_way {
            self.release(self.gone);
            0
        } else {
            let lost = self.skip_to(self.gone);
            self.release(self.gone);
            lost
        }
    }

    /// What is on its way has arrived, or never will: what is before this record. Returned are
    /// samples that were gone meanwhile, and those that are to be sent again.
    pub(crate) fn arrived(&mut self, end: u64) -> (u64, u64) {
        self.is_under_way = false;
        self.skip_to(end);
        let lost = self.skip_to(self.gone);
        self.release(self.gone);
        let again = match std::mem::take(&mut self.goes_back) {
            true => self.go_back(),
            false => 0,
        };
        (lost, again)
    }

    /// What is on its way is taken back. Returned as by [`Lane::arrived`].
    pub(crate) fn take_back(&mut self) -> (u64, u64) {
        self.taken = self.done;
        self.loaded.clear();
        self.since.get_or_insert_with(Instant::now);
        self.arrived(self.done)
    }

    /// What is held is to be sent again: at once, or when what is on its way is back. Returned are
    /// samples that are to be sent again.
    pub(crate) fn go_back(&mut self) -> u64 {
        if self.is_under_way {
            self.goes_back = true;
            return 0;
        }
        self.known = self.known.max(self.done);
        let again = std::mem::take(&mut self.held);
        (self.done, self.taken) = (self.released, self.released);
        self.waiting += again;
        self.loaded.clear();
        if self.taken < self.next() {
            self.since.get_or_insert_with(Instant::now);
        }
        again
    }

    /// Records before this one are held no more.
    pub(crate) fn release(&mut self, before: u64) {
        let before = before.min(self.done);
        while self.released < before
            && let Some(size) = self.sizes.pop_front()
        {
            self.released += 1;
            self.held -= u64::from(size);
        }
        while let Some(record) = self.recent.front()
            && record.number < self.released
        {
            self.forget_recent();
        }
    }

    fn skip_to(&mut self, to: u64) -> u64 {
        let mut samples = 0;
        while self.done < to
            && let Some(size) = usize::try_from(self.done - self.released)
                .ok()
                .and_then(|at| self.sizes.get(at))
        {
            self.done += 1;
            samples += u64::from(*size);
        }
        self.waiting -= samples;
        self.held += samples;
        self.taken = self.taken.max(self.done);
        while self
            .loaded
            .front()
            .is_some_and(|one| one.number < self.done)
        {
            self.loaded.pop_front();
        }
        if !self.holds {
            self.release(self.done);
        }
        if self.taken == self.next() {
            self.since = None;
        }
        if let Some(first) = self.first() {
            self.oldest_ms = first.arrived_ms;
        }
        samples
    }

    /// Passes over what came before this time (Unix milliseconds); how many samples that were.
    pub(crate) fn pass_over(&mut self, oldest_ms: i64) -> u64 {
        let mut lost = 0;
        while !self.is_under_way
            && let Some(record) = self.first()
            && record.arrived_ms < oldest_ms
        {
            let number = record.number;
            lost += self.lose(number + 1);
        }
        lost
    }

    /// The next record to be sent, where it is in memory.
    fn first(&self) -> Option<&Arc<Record>> {
        if let Some(record) = self.loaded.front() {
            return Some(record);
        }
        let at = self.taken.checked_sub(self.recent_from())?;
        self.recent.get(usize::try_from(at).ok()?)
    }

    /// Whether something is to be read before more can be sent.
    pub(crate) fn needs_log(&self) -> bool {
        self.loaded.is_empty() && self.taken < self.recent_from()
    }

    /// What was read; from [`Lane::taken`] on.
    pub(crate) fn load(&mut self, records: VecDeque<Arc<Record>>) {
        self.loaded = records;
    }

    /// Gives records until there are so many samples, one at least where there are none; where they
    /// end.
    pub(crate) fn give(
        &mut self,
        records: &mut Vec<Arc<Record>>,
        samples: &mut usize,
        samples_max: usize,
    ) -> Option<u64> {
        let before = self.taken;
        while let Some(record) = self.first() {
            if *samples > 0 && *samples + record.samples.len() > samples_max {
                break;
            }
            let record = Arc::clone(record);
            if self.taken == before {
                self.oldest_ms = record.arrived_ms;
            }
            self.loaded.pop_front();
            self.taken = record.number + 1;
            *samples += record.samples.len();
            records.push(record);
        }
        if self.taken == before {
            return None;
        }
        self.is_under_way = true;
        if self.taken == self.next() {
            self.since = None;
        }
        Some(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_series::Kind;

    use super::*;

    fn record(number: u64, samples: usize) -> Record {
        let sample = Sample {
            key: Arc::from([].as_slice()),
            kind: Kind::Unknown,
            at_ms: 0,
            bits: number,
        };
        Record {
            number,
            arrived_ms: i64::try_from(number).expect("small"),
            samples: vec![sample; samples],
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come(usize),
        Send(usize),
        Arrive,
        Lose(u64),
        Shorten(usize),
        Load,
        GoBack,
        TakeBack,
        Release(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..9_usize).prop_map(Step::Come),
            (1..20_usize).prop_map(Step::Send),
            Just(Step::Arrive),
            (0..60_u64).prop_map(Step::Lose),
            (1..20_usize).prop_map(Step::Shorten),
            Just(Step::Load),
            Just(Step::GoBack),
            Just(Step::TakeBack),
            (0..60_u64).prop_map(Step::Release),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: every sample is sent or lost, none twice, in order.
        #[test]
        fn every_sample_is_sent_or_lost_once(steps in prop::collection::vec(step(), 0..80)) {
            let mut lane = Lane::default();
            let mut all: Vec<Record> = Vec::new();
            let (mut came, mut sent, mut lost) = (0_u64, 0_u64, 0_u64);
            let mut under_way: Option<(u64, u64)> = None;
            let mut last = None;
            for step in steps {
                match step {
                    Step::Come(samples) => {
                        let record = record(lane.next(), samples);
                        all.push(record.clone());
                        lane.push(record);
                        came += samples as u64;
                    }
                    Step::Send(max) if under_way.is_none() => {
                        let (mut records, mut samples) = (Vec::new(), 0);
                        if let Some(end) = lane.give(&mut records, &mut samples, max) {
                            under_way = Some((end, samples as u64));
                        }
                        for record in records {
                            prop_assert!(last.is_none_or(|last| last < record.number));
                            last = Some(record.number);
                        }
                    }
                    Step::Arrive => {
                        if let Some((end, samples)) = under_way.take() {
                            lost += lane.arrived(end).0;
                            sent += samples;
                        }
                    }
                    Step::Lose(before) => lost += lane.lose(before),
                    Step::Shorten(max) => lost += lane.shorten(max, true),
                    Step::Load if !lane.is_under_way() && lane.needs_log() => {
                        let wanted = lane.taken()..lane.recent_from();
                        let read = all.iter().filter(|record| wanted.contains(&record.number));
                        let read: VecDeque<_> = read.cloned().map(Arc::new).collect();
                        prop_assert!(!read.is_empty());
                        lane.load(read);
                    }
                    // Of what holds nothing, nothing comes again.
                    Step::GoBack | Step::TakeBack | Step::Release(_) => {}
                    Step::Send(_) | Step::Load => {}
                }
                let flying = under_way.map_or(0, |(_, samples)| samples);
                prop_assert!(lane.waiting() >= flying);
                prop_assert_eq!(came, sent + lost + lane.waiting());
                let waits = lane.taken() < lane.next();
                prop_assert_eq!(lane.since().is_some(), waits);
            }
        }
    }

    proptest! {
        /// What holds sends everything that was not released or lost, in order from where it went
        /// back to, and its figures agree with each other.
        #[test]
        fn what_is_held_comes_again_in_order(steps in prop::collection::vec(step(), 0..80)) {
            let mut lane = Lane::default();
            lane.hold();
            let mut all: Vec<Record> = Vec::new();
            let mut under_way: Option<u64> = None;
            let mut last = None;
            for step in steps {
                match step {
                    Step::Come(samples) => {
                        let record = record(lane.next(), samples);
                        all.push(record.clone());
                        lane.push(record);
                    }
                    Step::Send(max) if under_way.is_none() => {
                        let (mut records, mut samples) = (Vec::new(), 0);
                        under_way = lane.give(&mut records, &mut samples, max);
                        for record in records {
                            prop_assert!(last.is_none_or(|last| last < record.number));
                            last = Some(record.number);
                        }
                    }
                    Step::Arrive => {
                        if let Some(end) = under_way.take() {
                            lane.arrived(end);
                        }
                    }
                    Step::TakeBack => {
                        if under_way.take().is_some() {
                            lane.take_back();
                        }
                    }
                    Step::GoBack => drop(lane.go_back()),
                    Step::Release(before) => lane.release(before),
                    Step::Lose(before) => drop(lane.lose(before)),
                    Step::Shorten(max) => drop(lane.shorten(max, true)),
                    Step::Load if !lane.is_under_way() && lane.needs_log() => {
                        let wanted = lane.taken()..lane.recent_from();
                        let read = all.iter().filter(|record| wanted.contains(&record.number));
                        lane.load(read.cloned().map(Arc::new).collect());
                    }
                    Step::Send(_) | Step::Load => {}
                }
                if under_way.is_none() {
                    last = lane.taken().checked_sub(1);
                }
                prop_assert!(lane.released() <= lane.done() && lane.done() <= lane.taken());
                let of = |from: u64, to: u64| -> u64 {
                    let some = all.iter().filter(|record| (from..to).contains(&record.number));
                    some.map(|record| record.samples.len() as u64).sum()
                };
                prop_assert_eq!(lane.held(), of(lane.released(), lane.done()));
                prop_assert_eq!(lane.waiting(), of(lane.done(), lane.next()));
            }
        }
    }

    #[test]
    fn what_came_long_ago_is_passed_over() {
        let mut lane = Lane::default();
        for number in 0..5 {
            lane.push(record(number, 2));
        }
        assert_eq!(lane.pass_over(3), 6);
        assert_eq!((lane.done(), lane.waiting()), (3, 4));
        assert_eq!(lane.pass_over(3), 0);
    }

    #[test]
    fn without_a_log_what_is_too_much_is_lost() {
        let mut lane = Lane::default();
        for number in 0..5 {
            lane.push(record(number, 2));
        }
        assert_eq!(lane.shorten(4, false), 6);
        assert_eq!(lane.waiting(), 4);
    }
}
