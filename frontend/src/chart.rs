//! Charts: geometry in pure modules, painting and the page's one drawing schedule apart.

pub mod columns;
pub mod crosshair;
pub mod layout;
pub mod order;
pub mod paint;
mod plate;
pub mod scale;
pub mod stage;
pub mod theme;
pub mod ticks;
pub mod trace;
