//! The HTTP face: routes, who may do what, what every answer carries, and the page.

pub mod access;
pub mod assets;
pub mod compress;
pub mod docs;
pub mod frame;
pub mod origin;
pub mod path;
pub mod router;
pub mod tenant;
pub mod via;
