//! A section of the file that finds targets, while it looks: what it found last, and what is wrong.
//! Kept across a reload where the section is the same.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    discovery::{Publish, Source},
    target::Group,
};

/// What is told each time that a section has looked: its number, and all that it found.
pub(crate) type Told = (u64, Result<Vec<Group>, String>);

/// A section that looks until this is dropped.
#[derive(Debug)]
pub(crate) struct Finding {
    number: u64,
    source: Source,
    groups: Vec<Group>,
    /// Why it finds nothing new, in words.
    problem: Option<String>,
    /// Dropped, its task ends.
    _end: DropGuard,
}

/// What was new in what a section told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Nothing,
    Groups,
    Problem,
}

impl Finding {
    /// Starts to look.
    pub(crate) fn start(
        source: Source,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        told: impl Fn(Told) + Send + Sync + 'static,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let end = stop.child_token();
        let groups = source.fixed();
        if groups.is_empty() {
            let publish = Publish::new(move |found| told((number, found)));
            let finding = source.clone().run(publish);
            tasks.spawn(end.clone().run_until_cancelled_owned(finding));
        }
        Self {
            number,
            source,
            groups,
            problem: None,
            _end: end.drop_guard(),
        }
    }

    /// The one of these that looks as `source` says.
    pub(crate) fn take(known: &mut Vec<Self>, source: &Source) -> Option<Self> {
        let at = known.iter().position(|one| one.source == *source)?;
        Some(known.swap_remove(at))
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(crate) fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }

    /// Takes what was told. What was found before is better than nothing, and stays where there is
    /// a problem.
    pub(crate) fn hear(&mut self, found: Result<Vec<Group>, String>) -> News {
        match found {
            Ok(groups) => {
                self.problem = None;
                if self.groups == groups {
                    return News::Nothing;
                }
                self.groups = groups;
                News::Groups
            }
            Err(problem) => {
                let is_new = self.problem.as_ref() != Some(&problem);
                self.problem = Some(problem);
                if is_new { News::Problem } else { News::Nothing }
            }
        }
    }
}
