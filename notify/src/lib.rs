//! What stands between an alert and its receivers: routes, groups and their waits, silences,
//! inhibition, times. Pure: no clock, no I/O.
