//! Columns one by one, for whoever needs no two of them at once.

use super::{Column, Evaluated, Evaluation, Grid, read::inner, windows::is_over_range};
use crate::{
    ast::{Expr, ExprKind, MatchOp},
    functions::Function,
    labels::NAME,
};

/// Whether the columns of a function over a range all have labels of their own, so that they need
/// not be compared: without their name they differ still where a selector names one metric alone.
fn is_alone(function: &Function, args: &[Expr]) -> bool {
    let names_one = |arg: &Expr| match &inner(arg).kind {
        ExprKind::Matrix { selector, .. } => selector.matchers.iter().any(|matcher| {
            &*matcher.name == NAME && matcher.op == MatchOp::Equal && !matcher.value.is_empty()
        }),
        _ => false,
    };
    is_over_range(function.name)
        && function.name != "absent_over_time"
        && args.iter().any(names_one)
}

impl Evaluation<'_> {
    /// Hands each column of an instant vector to `each`: one by one where that is possible, so that
    /// `each` may let it go; else when all are there. In any order where that is all the same to
    /// it.
    pub(super) fn each_column(
        &self,
        expr: &Expr,
        grid: Grid,
        is_unordered: bool,
        each: &mut dyn FnMut(Column) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let expr = inner(expr);
        let is_one_step = grid.count == 1 || !expr.is_step_invariant();
        // What a column becomes part of asks for its own.
        let mut each_alone = |column: Column| {
            let bytes = column.bytes();
            each(column)?;
            self.let_go(bytes);
            Ok(())
        };
        match &expr.kind {
            ExprKind::Vector(selector) if is_one_step => {
                self.each_selected(selector, grid, (false, is_unordered), &mut each_alone)
            }
            ExprKind::Call { function, args } if is_one_step && is_alone(function, args) => {
                self.each_over_range(function, args, grid, is_unordered, &mut each_alone)
            }
            _ => {
                for column in self.vector(expr, grid)? {
                    each_alone(column)?;
                }
                Ok(())
            }
        }
    }
}
