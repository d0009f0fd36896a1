//! Moments as a remote write message.

use std::{ops::Range, sync::Arc};

use pulseboard_host::describe;
use pulseboard_ingest::remote_write::Writer;
use pulseboard_series::{KeyRef, STALE_MARKER_BITS};

use crate::{
    external::External,
    frame::{Moment, Table},
};

/// What one message carries: whole moments, or some series of one that is too large.
#[derive(Clone, Debug)]
pub(crate) enum Piece<'a> {
    /// All of these.
    Whole(&'a [Moment]),
    /// These series of this one, and whether its last ones are among them.
    Part(&'a Moment, Range<usize>, bool),
}

impl<'a> Piece<'a> {
    /// The moments of which something is in it.
    pub(crate) fn moments(&self) -> &'a [Moment] {
        match self {
            Self::Whole(moments) => moments,
            Self::Part(moment, ..) => std::slice::from_ref(*moment),
        }
    }

    /// Those that the hub has when it has taken this, after the pieces before it.
    pub(crate) fn ends(&self) -> &'a [Moment] {
        match self {
            Self::Part(_, _, false) => &[],
            _ => self.moments(),
        }
    }

    fn range(&self) -> Range<usize> {
        match self {
            Self::Whole(_) => 0..usize::MAX,
            Self::Part(_, range, _) => range.clone(),
        }
    }

    /// How many values are in it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(moments) => moments.iter().map(|moment| moment.values.len()).sum(),
            Self::Part(_, range, _) => range.len(),
        }
    }

    /// Samples in it, without those that say that a series has ended.
    pub(crate) fn samples(&self) -> usize {
        let range = self.range();
        let values = self.moments().iter().flat_map(|moment| {
            let end = range.end.min(moment.values.len());
            moment.values.get(range.start..end).unwrap_or_default()
        });
        values.filter(|bits| **bits != STALE_MARKER_BITS).count()
    }

    /// Two pieces of about the same size, in order; nothing where it is one sample.
    pub(crate) fn halves(&self) -> Option<[Self; 2]> {
        match self {
            Self::Whole([moment]) => Self::Part(moment, 0..moment.values.len(), true).halves(),
            Self::Whole(moments) => {
                let half = self.len() / 2;
                let mut before = 0;
                let fits = |moment: &&Moment| {
                    before += moment.values.len();
                    before <= half
                };
                let count = moments.iter().take_while(fits).count();
                let at = count.clamp(1, moments.len().max(2) - 1);
                let (first, rest) = moments.split_at_checked(at)?;
                Some([Self::Whole(first), Self::Whole(rest)])
            }
            Self::Part(moment, range, is_last) => {
                if range.len() < 2 {
                    return None;
                }
                let middle = range.start + range.len() / 2;
                Some([
                    Self::Part(moment, range.start..middle, false),
                    Self::Part(moment, middle..range.end, *is_last),
                ])
            }
        }
    }
}

/// Packs a piece, each series with all of its samples and the labels of `external`; with what its
/// metrics are where `described` says so of its table. Told is how many samples are left out, since
/// their series cannot have these labels.
///
/// # Errors
/// It has more bytes than can be packed, which the size of a log's file rules out.
pub(crate) fn pack(
    piece: &Piece<'_>,
    described: impl Fn(&Table) -> bool,
    external: &mut External,
    writer: &mut Writer,
) -> Result<(Vec<u8>, u64), String> {
    let mut left_out = 0;
    let mut groups: Vec<Vec<&Moment>> = Vec::new();
    for moment in piece.moments() {
        let same = |group: &&mut Vec<&Moment>| {
            let first = group.first();
            first.is_some_and(|first| Arc::ptr_eq(&first.table, &moment.table))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(moment),
            None => groups.push(vec![moment]),
        }
    }
    let range = piece.range();
    for group in groups {
        let Some(table) = group.first().map(|first| &first.table) else {
            continue;
        };
        let all = || {
            let chosen = table.iter().enumerate().skip(range.start);
            chosen.take(range.len())
        };
        for (at, series) in all() {
            let samples = group.iter().filter_map(|moment| {
                let bits = *moment.values.get(at)?;
                Some((moment.at_ms, f64::from_bits(bits)))
            });
            match external.key(KeyRef::new(&series.key)) {
                Some(key) => writer.series(key, samples),
                None => left_out += samples.count() as u64,
            }
        }
        if described(table) {
            let mut last = "";
            for (_, series) in all() {
                let name = KeyRef::new(&series.key).name();
                if name != last {
                    last = name;
                    let help = describe(name).map(|(_, help)| help);
                    writer.metadata(name, series.kind, help.as_deref().unwrap_or_default());
                }
            }
        }
    }
    let packed = writer.finish().map_err(|error| error.to_string())?;
    Ok((packed, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Series;

    fn moment(number: u64, series: usize) -> Moment {
        let named = (0..series).map(|_| Series {
            key: Box::default(),
            kind: pulseboard_series::Kind::Gauge,
        });
        Moment {
            number,
            at_ms: 0,
            table: named.collect(),
            values: vec![0; series],
        }
    }

    /// However a batch is taken apart, each value is in one piece, and a moment ends with its last.
    #[test]
    fn halves_of_halves_have_everything_once_and_in_order() {
        let moments: Vec<Moment> = [3, 0, 1, 40, 2, 0]
            .into_iter()
            .zip(1..)
            .map(|(series, number)| moment(number, series))
            .collect();
        for most in [1, 2, 7, 100] {
            let mut pieces = vec![Piece::Whole(&moments)];
            let (mut values, mut ended) = (Vec::new(), Vec::new());
            while let Some(piece) = pieces.pop() {
                if piece.len() > most {
                    let [first, rest] = piece.halves().expect("more than one");
                    assert!(first.len() + rest.len() == piece.len());
                    pieces.extend([rest, first]);
                    continue;
                }
                for moment in piece.moments() {
                    let range = piece.range();
                    let places = range.start..range.end.min(moment.values.len());
                    values.extend(places.map(|place| (moment.number, place)));
                }
                ended.extend(piece.ends().iter().map(|moment| moment.number));
            }
            let expected = moments.iter().flat_map(|moment| {
                let places = 0..moment.values.len();
                places.map(|place| (moment.number, place))
            });
            assert!(values.iter().copied().eq(expected), "{values:?}");
            assert_eq!(ended, [1, 2, 3, 4, 5, 6]);
        }
        assert!(Piece::Part(&moments[0], 1..2, true).halves().is_none());
    }
}
