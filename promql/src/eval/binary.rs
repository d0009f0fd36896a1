//! Operators between two sides: numbers, a vector and a number, or two vectors whose series find
//! each other by their labels.

use foldhash::HashMap;

use super::{ABSENT, Column, Evaluated, Evaluation, Grid, Value, is_absent, merged, wrong};
use crate::{
    ast::{Binary, BinaryOp, Cardinality, Matching, ValueType},
    eval::windows::not_the_mark,
    labels::Labels,
};

/// What an operator makes of two numbers, and whether a comparison lets them pass.
fn apply(op: BinaryOp, left: f64, right: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (left + right, true),
        BinaryOp::Sub => (left - right, true),
        BinaryOp::Mul => (left * right, true),
        BinaryOp::Div => (left / right, true),
        BinaryOp::Mod => (left % right, true),
        BinaryOp::Pow => (left.powf(right), true),
        BinaryOp::Atan2 => (left.atan2(right), true),
        BinaryOp::Equal => (left, left == right),
        BinaryOp::NotEqual => (left, left != right),
        BinaryOp::Less => (left, left < right),
        BinaryOp::LessEqual => (left, left <= right),
        BinaryOp::Greater => (left, left > right),
        BinaryOp::GreaterEqual => (left, left >= right),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => (left, false),
    }
}

fn as_bool(passes: bool) -> f64 {
    if passes { 1.0 } else { 0.0 }
}

/// What the series that belong together have in common.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    match matching.is_on {
        true => labels.only(&matching.labels),
        false => labels.without(&matching.labels),
    }
}

/// The series of one signature on the side that has one of each.
#[derive(Debug, Default)]
struct Side {
    members: Vec<usize>,
    /// Of one-to-one: the steps at which one of the other side was met.
    met: Vec<bool>,
}

/// Whether the result is another quantity than its operands, and has lost their name.
fn loses_name(binary: &Binary) -> bool {
    binary.is_bool || !binary.op.is_comparison()
}

impl Evaluation<'_> {
    pub(super) fn binary(&self, binary: &Binary, grid: Grid) -> Evaluated<Value> {
        if let Some(columns) = self.compared(binary, grid)? {
            return Ok(Value::Vector(columns));
        }
        let (left, right) = (self.eval(&binary.lhs, grid)?, self.eval(&binary.rhs, grid)?);
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                let both = left.iter().zip(&right);
                let value = |(left, right): (&f64, &f64)| {
                    let (value, passes) = apply(binary.op, *left, *right);
                    match binary.op.is_comparison() {
                        true => as_bool(passes),
                        false => value,
                    }
                };
                Ok(Value::Scalar(both.map(value).collect()))
            }
            (Value::Vector(columns), Value::Scalar(numbers)) => {
                self.with_scalar(binary, columns, &numbers, false)
            }
            (Value::Scalar(numbers), Value::Vector(columns)) => {
                self.with_scalar(binary, columns, &numbers, true)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let columns = match binary.op {
                    BinaryOp::And | BinaryOp::Unless => {
                        self.filtered(binary, left, &right, grid)?
                    }
                    BinaryOp::Or => self.united(binary, left, right, grid)?,
                    _ => self.matched(binary, left, right, grid)?,
                };
                Ok(Value::Vector(columns))
            }
            _ => Err(wrong("a string has no operators")),
        }
    }

    /// A comparison of series with a number that filters them, as most rules have it: series by
    /// series where they come one by one, so that nothing is made of those that do not pass. `None`
    /// where it is another operation.
    fn compared(&self, binary: &Binary, grid: Grid) -> Evaluated<Option<Vec<Column>>> {
        let types = (binary.lhs.value_type(), binary.rhs.value_type());
        let (vector, number, is_swapped) = match types {
            (ValueType::Vector, ValueType::Scalar) => (&binary.lhs, &binary.rhs, false),
            (ValueType::Scalar, ValueType::Vector) => (&binary.rhs, &binary.lhs, true),
            _ => return Ok(None),
        };
        let is_filter = binary.op.is_comparison() && !binary.is_bool;
        if !is_filter || !Self::is_streamed(vector, grid) {
            return Ok(None);
        }
        let numbers = self.scalar(number, grid)?;
        let (mut columns, mut passing) = (Vec::new(), Vec::new());
        self.each_named(vector, grid, false, &mut |named, values| {
            self.guard.spend(values.len() as u64)?;
            passing.clear();
            let mut any = false;
            for (value, number) in values.iter().zip(&numbers) {
                let (left, right) = match is_swapped {
                    true => (*number, *value),
                    false => (*value, *number),
                };
                // What passes is the vector's value, whichever side it stands on.
                let passes = !is_absent(*value) && apply(binary.op, left, right).1;
                any |= passes;
                passing.push(if passes { *value } else { ABSENT });
            }
            if any {
                columns.push(self.kept(named.labels()?, passing.clone())?);
            }
            Ok(())
        })?;
        Ok(Some(merged(columns)?))
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        mut columns: Vec<Column>,
        numbers: &[f64],
        is_swapped: bool,
    ) -> Evaluated<Value> {
        self.guard.spend((columns.len() * numbers.len()) as u64)?;
        for column in &mut columns {
            if loses_name(binary) {
                column.labels = column.labels.nameless();
            }
            for (value, number) in column.values.iter_mut().zip(numbers) {
                if is_absent(*value) {
                    continue;
                }
                let (left, right) = match is_swapped {
                    true => (*number, *value),
                    false => (*value, *number),
                };
                let (result, passes) = apply(binary.op, left, right);
                *value = if binary.is_bool {
                    as_bool(passes)
                } else if !passes {
                    ABSENT
                } else if binary.op.is_comparison() {
                    // What passes is the vector's value, whichever side it stands on.
                    *value
                } else {
                    not_the_mark(result)
                };
            }
        }
        columns.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
        Ok(Value::Vector(merged(columns)?))
    }

    /// By signature, whether any series is there, step by step.
    fn presence(
        &self,
        matching: &Matching,
        columns: &[Column],
        grid: Grid,
    ) -> Evaluated<HashMap<Labels, Vec<bool>>> {
        let mut all: HashMap<Labels, Vec<bool>> = HashMap::default();
        for column in columns {
            self.guard.spend(grid.count as u64)?;
            let steps = all
                .entry(signature(matching, &column.labels))
                .or_insert_with(|| vec![false; grid.count]);
            for (is_there, value) in steps.iter_mut().zip(&column.values) {
                *is_there |= !is_absent(*value);
            }
        }
        Ok(all)
    }

    /// `and` and `unless`.
    fn filtered(
        &self,
        binary: &Binary,
        mut left: Vec<Column>,
        right: &[Column],
        grid: Grid,
    ) -> Evaluated<Vec<Column>> {
        let present = self.presence(&binary.matching, right, grid)?;
        let wants = binary.op == BinaryOp::And;
        for column in &mut left {
            self.guard.spend(grid.count as u64)?;
            let steps = present.get(&signature(&binary.matching, &column.labels));
            for (step, value) in column.values.iter_mut().enumerate() {
                let is_there = steps
                    .and_then(|steps| steps.get(step))
                    .copied()
                    .unwrap_or_default();
                if is_there != wants {
                    *value = ABSENT;
                }
            }
        }
        left.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
        Ok(left)
    }

    fn united(
        &self,
        binary: &Binary,
        left: Vec<Column>,
        mut right: Vec<Column>,
        grid: Grid,
    ) -> Evaluated<Vec<Column>> {
        let present = self.presence(&binary.matching, &left, grid)?;
        for column in &mut right {
            self.guard.spend(grid.count as u64)?;
            let Some(steps) = present.get(&signature(&binary.matching, &column.labels)) else {
                continue;
            };
            for (value, is_there) in column.values.iter_mut().zip(steps) {
                if *is_there {
                    *value = ABSENT;
                }
            }
        }
        right.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
        let mut all = left;
        all.append(&mut right);
        merged(all)
    }

    /// Arithmetic and comparison between two vectors.
    fn matched(
        &self,
        binary: &Binary,
        left: Vec<Column>,
        right: Vec<Column>,
        grid: Grid,
    ) -> Evaluated<Vec<Column>> {
        let matching = &binary.matching;
        let is_swapped = matching.cardinality == Cardinality::Right;
        let (many, one) = match is_swapped {
            true => (right, left),
            false => (left, right),
        };
        // Where one side is empty nothing is compared, and nothing is wrong.
        let any = |columns: &[Column]| {
            let mut steps = vec![false; grid.count];
            for column in columns {
                for (step, value) in steps.iter_mut().zip(&column.values) {
                    *step |= !is_absent(*value);
                }
            }
            steps
        };
        let (any_many, any_one) = (any(&many), any(&one));
        let mut sides: HashMap<Labels, Side> = HashMap::default();
        for (at, column) in one.iter().enumerate() {
            let side = sides.entry(signature(matching, &column.labels));
            side.or_default().members.push(at);
        }
        self.refuse_twice(&sides, &one, (&any_many, &any_one), is_swapped)?;
        let mut out: HashMap<Labels, usize> = HashMap::default();
        let mut columns: Vec<Column> = Vec::new();
        for column in &many {
            let group = signature(matching, &column.labels);
            let Some(Side { members, met }) = sides.get_mut(&group) else {
                continue;
            };
            if matching.cardinality == Cardinality::One {
                met.resize(grid.count, false);
            }
            for candidate in members.iter() {
                let Some(other) = one.get(*candidate) else {
                    continue;
                };
                self.guard.spend(grid.count as u64)?;
                let labels = result_labels(binary, &column.labels, &other.labels);
                let mut place = None;
                for step in 0..grid.count {
                    let (Some(mine), Some(theirs)) =
                        (column.values.get(step), other.values.get(step))
                    else {
                        continue;
                    };
                    if is_absent(*mine) || is_absent(*theirs) {
                        continue;
                    }
                    let (left, right) = match is_swapped {
                        true => (*theirs, *mine),
                        false => (*mine, *theirs),
                    };
                    let (value, passes) = apply(binary.op, left, right);
                    let value = match (binary.is_bool, passes) {
                        (true, passes) => as_bool(passes),
                        (false, true) => not_the_mark(value),
                        (false, false) => continue,
                    };
                    if let Some(met) = met.get_mut(step)
                        && std::mem::replace(met, true)
                    {
                        return Err(wrong(
                            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                        ));
                    }
                    let at = match place {
                        Some(at) => at,
                        None => {
                            let at = match out.get(&labels) {
                                Some(at) => *at,
                                None => {
                                    let made =
                                        self.column(labels.clone(), vec![ABSENT; grid.count])?;
                                    out.insert(labels.clone(), columns.len());
                                    columns.push(made);
                                    columns.len() - 1
                                }
                            };
                            place = Some(at);
                            at
                        }
                    };
                    let cell = columns
                        .get_mut(at)
                        .and_then(|column| column.values.get_mut(step));
                    if let Some(cell) = cell {
                        if !is_absent(*cell) {
                            return Err(wrong(match matching.cardinality {
                                Cardinality::One => {
                                    "vector cannot contain metrics with the same labelset"
                                }
                                _ => {
                                    "multiple matches for labels: grouping labels must ensure unique matches"
                                }
                            }));
                        }
                        *cell = value;
                    }
                }
            }
        }
        Ok(columns)
    }

    /// On the side that has one of each, no signature may be there twice at a step.
    fn refuse_twice(
        &self,
        sides: &HashMap<Labels, Side>,
        one: &[Column],
        (any_many, any_one): (&[bool], &[bool]),
        is_swapped: bool,
    ) -> Evaluated<()> {
        for (group, Side { members, .. }) in sides {
            if members.len() < 2 {
                continue;
            }
            self.guard.spend((members.len() * any_one.len()) as u64)?;
            for (step, (many, one_side)) in any_many.iter().zip(any_one).enumerate() {
                if !many || !one_side {
                    continue;
                }
                let mut found = members
                    .iter()
                    .filter_map(|at| one.get(*at))
                    .filter(|column| {
                        column
                            .values
                            .get(step)
                            .is_some_and(|value| !is_absent(*value))
                    });
                if let (Some(first), Some(second)) = (found.next(), found.next()) {
                    let side = if is_swapped { "left" } else { "right" };
                    return Err(wrong(format!(
                        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                        second.labels, first.labels
                    )));
                }
            }
        }
        Ok(())
    }
}

/// What a pair's result is called; `many` is the side that may have several.
fn result_labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let matching = &binary.matching;
    let mut labels = match loses_name(binary) {
        true => many.nameless(),
        false => many.clone(),
    };
    if matching.cardinality == Cardinality::One {
        labels = match matching.is_on {
            true => labels.only(&matching.labels),
            false => labels.filtered(|name| !matching.labels.iter().any(|one| **one == *name)),
        };
    }
    for name in &matching.include {
        labels = labels.with(name, one.get(name));
    }
    // What says whether something is so has no name, not even the other side's.
    match binary.is_bool {
        true => labels.nameless(),
        false => labels,
    }
}
