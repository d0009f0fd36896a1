//! From rows to the strokes of a line: every point where there is room, and where there is not,
//! first, least, greatest and last of each pixel column (M4, Jugel et al., VLDB 2014), which
//! gives the same picture as all points would. Missing figures, missing ticks and merged ones end
//! a stroke.

use super::ring::Ring;

/// With more points than this for each pixel, columns are reduced; below, the scan costs more
/// than it saves.
const DENSE_POINTS_PER_PX: f64 = 3.0;

/// Strokes of one line, in pixels; kept between frames so that drawing allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Strokes {
    points: Vec<(f64, f64)>,
    /// Where in `points` each stroke begins.
    starts: Vec<usize>,
    /// The next point begins a stroke.
    broken: bool,
}

impl Strokes {
    fn clear(&mut self) {
        self.points.clear();
        self.starts.clear();
        self.broken = true;
    }

    fn push(&mut self, x: f64, y: f64) {
        if self.broken {
            self.starts.push(self.points.len());
            self.broken = false;
        }
        self.points.push((x, y));
    }

    /// Each unbroken piece, at least one point long, from left to right.
    pub fn iter(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        let ends = self
            .starts
            .iter()
            .skip(1)
            .copied()
            .chain([self.points.len()]);
        self.starts
            .iter()
            .zip(ends)
            .map(|(start, end)| &self.points[*start..end])
    }

    /// The rightmost point.
    #[must_use]
    pub fn last(&self) -> Option<(f64, f64)> {
        self.points.last().copied()
    }
}

/// What one pixel column has gathered.
struct Column {
    number: f64,
    first: (f64, f64),
    least: (f64, f64),
    greatest: (f64, f64),
    last: (f64, f64),
}

impl Column {
    const fn new(number: f64, point: (f64, f64)) -> Self {
        Self {
            number,
            first: point,
            least: point,
            greatest: point,
            last: point,
        }
    }

    fn flush(self, strokes: &mut Strokes) {
        strokes.push(self.first.0, self.first.1);
        let (earlier, later) = if self.least.0 <= self.greatest.0 {
            (self.least, self.greatest)
        } else {
            (self.greatest, self.least)
        };
        for point in [earlier, later] {
            if point != self.first && point != self.last {
                strokes.push(point.0, point.1);
            }
        }
        if self.last != self.first {
            strokes.push(self.last.0, self.last.1);
        }
    }
}

/// Traces rows `from..to` of `column` into `strokes`; `x` and `y` map time and figure to pixels,
/// `width_px` is how many pixels there are for them.
pub fn trace(
    ring: &Ring,
    column: usize,
    (from, to): (usize, usize),
    width_px: f64,
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
    strokes: &mut Strokes,
) {
    strokes.clear();
    #[expect(clippy::cast_precision_loss, reason = "rows are counted in thousands")]
    let dense = to.saturating_sub(from) as f64 > DENSE_POINTS_PER_PX * width_px;
    let mut open: Option<Column> = None;
    for index in from..to.min(ring.len()) {
        let value = ring.value(column, index);
        if ring.before(index).breaks() || !value.is_finite() {
            if let Some(done) = open.take() {
                done.flush(strokes);
            }
            strokes.broken = true;
        }
        if !value.is_finite() {
            continue;
        }
        let point = (x(ring.time(index)), y(value));
        if !dense {
            strokes.push(point.0, point.1);
            continue;
        }
        let number = point.0.floor();
        match &mut open {
            Some(column) if column.number == number => {
                if point.1 < column.least.1 {
                    column.least = point;
                }
                if point.1 > column.greatest.1 {
                    column.greatest = point;
                }
                column.last = point;
            }
            _ => {
                if let Some(done) = open.replace(Column::new(number, point)) {
                    done.flush(strokes);
                }
            }
        }
    }
    if let Some(done) = open {
        done.flush(strokes);
    }
}

/// Least and greatest figure of rows `from..to`; `None` when there is none.
#[must_use]
pub fn extremes(ring: &Ring, column: usize, (from, to): (usize, usize)) -> Option<(f64, f64)> {
    (from..to.min(ring.len()))
        .map(|index| ring.value(column, index))
        .filter(|value| value.is_finite())
        .fold(None, |found, value| {
            Some(
                found.map_or((value, value), |(least, greatest): (f64, f64)| {
                    (least.min(value), greatest.max(value))
                }),
            )
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{chart::ring::Before, net::feed::Row};

    fn ring(values: &[(f64, bool)]) -> Ring {
        let mut ring = Ring::new(values.len());
        for (index, (value, gap)) in values.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a test")]
            let t_ms = index as f64;
            let row = Row {
                t_ms,
                values: [*value; 4],
            };
            let before = if *gap {
                Before::Missing
            } else {
                Before::Nothing
            };
            assert!(ring.push(row, before));
        }
        ring
    }

    /// Least, greatest, first and last y of each pixel column.
    fn columns<'a>(
        points: impl Iterator<Item = &'a (f64, f64)>,
    ) -> BTreeMap<i64, (f64, f64, f64, f64)> {
        let mut columns = BTreeMap::new();
        for (x, y) in points {
            #[expect(clippy::cast_possible_truncation, reason = "a test")]
            let entry = columns.entry(x.floor() as i64).or_insert((*y, *y, *y, *y));
            *entry = (entry.0.min(*y), entry.1.max(*y), entry.2, *y);
        }
        columns
    }

    #[test]
    fn gaps_end_a_stroke() {
        let ring = ring(&[
            (1.0, false),
            (2.0, false),
            (f64::NAN, false),
            (3.0, false),
            (4.0, true),
        ]);
        let mut strokes = Strokes::default();
        trace(&ring, 0, (0, 5), 100.0, |t| t, |v| v, &mut strokes);
        let lengths: Vec<usize> = strokes.iter().map(<[_]>::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
        assert_eq!(extremes(&ring, 0, (0, 5)), Some((1.0, 4.0)));
        assert_eq!(extremes(&ring, 0, (2, 3)), None);
    }

    proptest! {
        /// The reduced line has the same extremes, entry and exit in every pixel column.
        #[test]
        fn looks_like_all_points(
            values in proptest::collection::vec(
                (prop_oneof![20 => 0.0..100.0_f64, 1 => Just(f64::NAN)], proptest::bool::weighted(0.02)),
                40..600,
            ),
            width in 4_u32..40,
        ) {
            let ring = ring(&values);
            let width = f64::from(width);
            #[expect(clippy::cast_precision_loss, reason = "a test")]
            let scale = width / values.len() as f64;
            let mut all = Strokes::default();
            trace(&ring, 2, (0, ring.len()), f64::INFINITY, |t| t * scale, |v| v, &mut all);
            let mut reduced = Strokes::default();
            trace(&ring, 2, (0, ring.len()), width, |t| t * scale, |v| v, &mut reduced);
            prop_assert_eq!(all.iter().count(), reduced.iter().count());
            for (all, reduced) in all.iter().zip(reduced.iter()) {
                prop_assert_eq!(columns(all.iter()), columns(reduced.iter()));
                prop_assert!(reduced.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            }
            prop_assert!(reduced.points.len() <= values.len());
        }
    }
}
