//! Aggregations: columns of a group become one, or the largest of them stay.

use std::sync::Arc;

use foldhash::HashMap;

use super::{
    ABSENT, Column, Evaluated, Evaluation, Grid, Value, is_absent, merged, rank, sums,
    windows::not_the_mark, wrong,
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
        let columns = self.vector(&aggregate.expr, grid)?;
        let mut places: HashMap<Labels, usize> = HashMap::default();
        let mut all: Vec<Column> = Vec::new();
        for column in &columns {
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
        }
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
        let columns = self.vector(&aggregate.expr, grid)?;
        let mut all = Vec::new();
        for (_, members) in grouped(aggregate, columns) {
            self.guard.spend((members.len() * grid.count * 4) as u64)?;
            // Made when something is kept of it: few of many are.
            let mut kept: Vec<Option<Column>> = members.iter().map(|_| None).collect();
            let mut order: Vec<usize> = (0..members.len()).collect();
            for step in 0..grid.count {
                let k = params.get(step).copied().unwrap_or_default();
                let k = if k < 1.0 { 0 } else { k as usize };
                let present = members.iter().enumerate().filter_map(|(at, member)| {
                    let value = *member.values.get(step)?;
                    (!is_absent(value)).then_some((value, at))
                });
                let ranked = rank::first(present, k, is_top);
                for (value, at) in &ranked {
                    let (Some(column), Some(member)) = (kept.get_mut(*at), members.get(*at)) else {
                        continue;
                    };
                    if column.is_none() {
                        let values = vec![ABSENT; grid.count];
                        *column = Some(self.column(member.labels.clone(), values)?);
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
