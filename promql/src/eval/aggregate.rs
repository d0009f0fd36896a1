//! Aggregations: columns of a group become one, or the largest of them stay.

use std::sync::Arc;

use foldhash::HashMap;

use super::{
    ABSENT, Column, Evaluated, Evaluation, Grid, Value, is_absent, merged,
    rank::{Best, Ranked},
    sums,
    windows::not_the_mark,
    wrong,
};
use crate::{
    ast::{Aggregate, AggregateOp, Expr},
    labels::Labels,
    print,
};

/// The labels of a series' group.
fn group_of(aggregate: &Aggregate, labels: &Labels) -> Labels {
    match aggregate.without {
        true => labels.without(&aggregate.grouping),
        false => labels.only(&aggregate.grouping),
    }
}

/// The same of `count_values`: the label of the value is one of those that are grouped by, and goes
/// with those that `without` takes away.
fn value_group_of(aggregate: &Aggregate, labels: &Labels, (name, value): (&str, &str)) -> Labels {
    match aggregate.without {
        true => labels.with(name, value).without(&aggregate.grouping),
        false => labels.only(&aggregate.grouping).with(name, value),
    }
}

/// What one group has seen at one step.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    count: f64,
    /// A sum and its compensation, the least, the most, or the sum of squares and the mean.
    value: (f64, f64),
}

impl Evaluation<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Value> {
        let columns = match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk => self.extremes(aggregate, grid)?,
            AggregateOp::Quantile => self.quantiles(aggregate, grid)?,
            AggregateOp::CountValues => self.count_values(aggregate, grid)?,
            _ => self.folded(aggregate, grid)?,
        };
        Ok(Value::Vector(columns))
    }

    fn param<'e>(&self, aggregate: &'e Aggregate) -> Evaluated<&'e Expr> {
        aggregate
            .param
            .as_ref()
            .ok_or_else(|| wrong(format!("{} lacks its parameter", aggregate.op.name())))
    }

    /// Aggregations that need one cell a group and step.
    fn folded(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let mut places: HashMap<Labels, usize> = HashMap::default();
        let mut groups: Vec<(Labels, Vec<Cell>, Vec<sums::Mean>)> = Vec::new();
        self.each_column(&aggregate.expr, grid, &mut |column| {
            self.guard.spend(grid.count as u64)?;
            let labels = group_of(aggregate, &column.labels);
            let place = match places.get(&labels) {
                Some(place) => *place,
                None => {
                    self.hold(grid.count * size_of::<Cell>())?;
                    places.insert(labels.clone(), groups.len());
                    let (cells, means) = match aggregate.op {
                        AggregateOp::Avg => (0, grid.count),
                        _ => (grid.count, 0),
                    };
                    groups.push((
                        labels,
                        vec![Cell::default(); cells],
                        vec![sums::Mean::default(); means],
                    ));
                    groups.len() - 1
                }
            };
            let Some((_, cells, means)) = groups.get_mut(place) else {
                return Ok(());
            };
            for (mean, value) in means.iter_mut().zip(&column.values) {
                if !is_absent(*value) {
                    mean.add(*value);
                }
            }
            for (cell, value) in cells.iter_mut().zip(&column.values) {
                if !is_absent(*value) {
                    fold(aggregate.op, cell, *value);
                }
            }
            Ok(())
        })?;
        groups
            .into_iter()
            .map(|(labels, cells, means)| {
                let values = match aggregate.op {
                    AggregateOp::Avg => means.iter().map(mean_of).collect(),
                    op => cells.iter().map(|cell| unfold(op, cell)).collect(),
                };
                self.column(labels, values)
            })
            .collect()
    }

    /// `quantile`, which needs all values of a group at a step.
    fn quantiles(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let param = self.param(aggregate)?;
        let q = self.scalar(param, grid)?;
        self.note_quantiles(&q, param.span);
        let columns = self.vector(&aggregate.expr, grid)?;
        let mut all = Vec::new();
        let mut values = Vec::new();
        for (labels, members) in grouped(aggregate, columns) {
            self.guard.spend((members.len() * grid.count * 4) as u64)?;
            let column = (0..grid.count).map(|step| {
                values.clear();
                let present = members.iter().filter_map(|one| one.values.get(step));
                values.extend(present.filter(|value| !is_absent(**value)));
                match values.is_empty() {
                    true => ABSENT,
                    false => not_the_mark(sums::quantile(
                        q.get(step).copied().unwrap_or(f64::NAN),
                        &mut values,
                    )),
                }
            });
            let column = column.collect();
            all.push(self.column(labels, column)?);
        }
        Ok(all)
    }

    fn count_values(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let name = self.text(self.param(aggregate)?, grid)?;
        if name.is_empty() {
            return Err(wrong(format!("invalid label name {name:?}")));
        }
        let mut places: HashMap<Labels, usize> = HashMap::default();
        let mut all: Vec<Column> = Vec::new();
        self.each_column(&aggregate.expr, grid, &mut |column| {
            for (step, value) in column.values.iter().enumerate() {
                if is_absent(*value) {
                    continue;
                }
                let value = plain_number(*value);
                let labels = value_group_of(aggregate, &column.labels, (&name, &value));
                self.guard.spend(4)?;
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        places.insert(labels.clone(), all.len());
                        all.push(self.column(labels, vec![ABSENT; grid.count])?);
                        all.len() - 1
                    }
                };
                let cell = all
                    .get_mut(place)
                    .and_then(|column| column.values.get_mut(step));
                if let Some(cell) = cell {
                    *cell = if is_absent(*cell) { 1.0 } else { *cell + 1.0 };
                }
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// `topk` and `bottomk`: at each step those of a group with the largest or least values stay
    /// as they are. NaN is never among them while there is a number.
    fn extremes(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let is_top = aggregate.op == AggregateOp::Topk;
        let params = self.scalar(self.param(aggregate)?, grid)?;
        for param in &params {
            if param.is_nan() {
                return Err(wrong("Parameter value is NaN"));
            }
            if param.abs() >= 9.3e18 {
                return Err(wrong(format!(
                    "Scalar value {} overflows int64",
                    print::number(*param)
                )));
            }
        }
        let counts: Vec<usize> = params.iter().map(|k| k.max(0.0) as usize).collect();
        let groups = self.ranked(aggregate, grid, &counts)?;
        let mut all = Vec::new();
        for Choice { members, best } in groups {
            // Made when something is kept of it: few of many are.
            let mut kept: Vec<Option<Column>> = members.iter().map(|_| None).collect();
            let mut order: Vec<usize> = (0..members.len()).collect();
            for (step, best) in best.into_iter().enumerate() {
                let ranked = best.into_ranked(is_top);
                for (value, at) in &ranked {
                    let (Some(column), Some(labels)) = (kept.get_mut(*at), members.get(*at)) else {
                        continue;
                    };
                    if column.is_none() {
                        let values = vec![ABSENT; grid.count];
                        *column = Some(self.column(labels.clone(), values)?);
                    }
                    let cell = column
                        .as_mut()
                        .and_then(|column| column.values.get_mut(step));
                    if let Some(cell) = cell {
                        *cell = *value;
                    }
                }
                if grid.count == 1 {
                    order = ranked.iter().map(|(_, at)| *at).collect();
                }
            }
            all.extend(
                order
                    .into_iter()
                    .filter_map(|at| kept.get_mut(at).and_then(Option::take))
                    .filter(|column| column.values.iter().any(|value| !is_absent(*value))),
            );
        }
        merged(all)
    }

    /// The best of each group at each step, of which so many stay: one column at a time is looked
    /// at, and no more is held than what may stay.
    fn ranked(
        &self,
        aggregate: &Aggregate,
        grid: Grid,
        counts: &[usize],
    ) -> Evaluated<Vec<Choice>> {
        let is_top = aggregate.op == AggregateOp::Topk;
        let mut places: HashMap<Labels, usize> = HashMap::default();
        let mut groups: Vec<Choice> = Vec::new();
        self.each_column(&aggregate.expr, grid, &mut |column| {
            self.guard.spend(4 * grid.count as u64)?;
            let labels = group_of(aggregate, &column.labels);
            let place = match places.get(&labels) {
                Some(place) => *place,
                None => {
                    self.hold(grid.count * size_of::<Best>())?;
                    places.insert(labels, groups.len());
                    groups.push(Choice {
                        members: Vec::new(),
                        best: vec![Best::default(); grid.count],
                    });
                    groups.len() - 1
                }
            };
            let Some(group) = groups.get_mut(place) else {
                return Ok(());
            };
            // As many more as there may be, since lists grow by doubling.
            self.hold(column.labels.bytes() + 2 * grid.count * size_of::<Ranked>())?;
            let at = group.members.len();
            let mut more = 0;
            for ((best, value), count) in group.best.iter_mut().zip(&column.values).zip(counts) {
                if !is_absent(*value) && best.offer((*value, at), *count, is_top) {
                    more += 1;
                }
            }
            group.members.push(column.labels);
            self.let_go(2 * (grid.count - more) * size_of::<Ranked>());
            Ok(())
        })?;
        Ok(groups)
    }
}

/// What stays of a group: the labels of its series, and the best of them at each step.
struct Choice {
    members: Vec<Labels>,
    best: Vec<Best>,
}

/// Columns by group, groups in the order in which they come.
fn grouped(aggregate: &Aggregate, columns: Vec<Column>) -> Vec<(Labels, Vec<Column>)> {
    let mut places: HashMap<Labels, usize> = HashMap::default();
    let mut groups: Vec<(Labels, Vec<Column>)> = Vec::new();
    for column in columns {
        let labels = group_of(aggregate, &column.labels);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            groups.push((labels, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, members)) = groups.get_mut(place) {
            members.push(column);
        }
    }
    groups
}

fn fold(op: AggregateOp, cell: &mut Cell, value: f64) {
    cell.count += 1.0;
    let is_first = cell.count == 1.0;
    match op {
        AggregateOp::Sum if is_first => cell.value = (value, 0.0),
        AggregateOp::Sum => cell.value = sums::add(value, cell.value),
        AggregateOp::Min if is_first || value < cell.value.0 || cell.value.0.is_nan() => {
            cell.value.0 = value;
        }
        AggregateOp::Max if is_first || value > cell.value.0 || cell.value.0.is_nan() => {
            cell.value.0 = value;
        }
        AggregateOp::Stddev | AggregateOp::Stdvar => {
            // Welford: the sum of squares and the mean. What is no finite number leaves none.
            let (squares, mean) = cell.value;
            if is_first {
                let squares = if value.is_finite() { 0.0 } else { f64::NAN };
                cell.value = (squares, value);
            } else {
                let delta = value - mean;
                let mean = mean + delta / cell.count;
                cell.value = (squares + delta * (value - mean), mean);
            }
        }
        _ => {}
    }
}

fn unfold(op: AggregateOp, cell: &Cell) -> f64 {
    if cell.count == 0.0 {
        return ABSENT;
    }
    not_the_mark(match op {
        AggregateOp::Sum => cell.value.0 + cell.value.1,
        AggregateOp::Count => cell.count,
        AggregateOp::Group => 1.0,
        AggregateOp::Stddev => (cell.value.0 / cell.count).sqrt(),
        AggregateOp::Stdvar => cell.value.0 / cell.count,
        _ => cell.value.0,
    })
}

fn mean_of(mean: &sums::Mean) -> f64 {
    match mean.is_empty() {
        true => ABSENT,
        false => not_the_mark(mean.value()),
    }
}

/// A number without an exponent, as `count_values` labels it.
fn plain_number(value: f64) -> Arc<str> {
    if value.is_nan() {
        return Arc::from("NaN");
    }
    if value.is_infinite() {
        return Arc::from(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    Arc::from(value.to_string())
}
