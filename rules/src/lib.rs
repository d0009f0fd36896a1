//! Rules: files in Prometheus' format and rules made while it runs, evaluated over a storage that is
//! given. Pure: no clock, no I/O, no threads.
