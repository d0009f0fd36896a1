//! Series one by one, for whoever needs no two of them at once.

use super::{EachNamed, Evaluated, Evaluation, Grid, read::inner, windows::is_over_range};
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
    /// Hands each series of an instant vector to `each` with its numbers: one by one where that is
    /// possible ([`Evaluation::is_streamed`]), so that none of it is kept; else when all are there.
    /// In any order where that is all the same to it.
    pub(super) fn each_named(
        &self,
        expr: &Expr,
        grid: Grid,
        is_unordered: bool,
        each: &mut EachNamed<'_>,
    ) -> Evaluated<()> {
        let expr = inner(expr);
        match &expr.kind {
            ExprKind::Vector(selector) if Self::is_streamed(expr, grid) => {
                self.each_selected(selector, grid, (false, is_unordered), each)
            }
            ExprKind::Call { function, args } if Self::is_streamed(expr, grid) => {
                self.each_over_range(function, args, grid, is_unordered, each)
            }
            _ => {
                for column in self.vector(expr, grid)? {
                    each(&column.labels, &column.values)?;
                    // What it becomes part of asks for its own.
                    self.let_go(column.bytes());
                }
                Ok(())
            }
        }
    }

    /// Whether series of an expression come one by one.
    pub(super) fn is_streamed(expr: &Expr, grid: Grid) -> bool {
        let expr = inner(expr);
        let is_one_step = grid.count == 1 || !expr.is_step_invariant();
        is_one_step
            && match &expr.kind {
                ExprKind::Vector(_) => true,
                ExprKind::Call { function, args } => is_alone(function, args),
                _ => false,
            }
    }
}
