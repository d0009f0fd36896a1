//! Against real stores: Prometheus and VictoriaMetrics, as Debian packs them. What is not to be had
//! here is said and passed over.

mod reading;
mod store;
mod writing;
