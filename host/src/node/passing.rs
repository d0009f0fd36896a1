//! Interfaces that are not told.

/// Whether an interface is a container's.
pub(super) fn is_passing(interface: &str) -> bool {
    const STARTS: [&str; 4] = ["veth", "cali", "lxc", "tap"];
    STARTS.iter().any(|start| interface.starts_with(start))
}
