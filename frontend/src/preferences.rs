//! How the reader wants times: in which zone, and with 12 or 24 hours. Remembered by the browser;
//! an address may name another zone.

use crate::{format, platform};

/// Where the browser remembers the zone and the hours.
const ZONE_KEY: &str = "pulseboard-zone";
const HOURS_KEY: &str = "pulseboard-hours";

/// Takes what is remembered, unless the address names a zone.
pub fn recall(of_address: Option<String>) {
    let zone = of_address.or_else(|| platform::remembered(ZONE_KEY));
    platform::set_zone(&zone.unwrap_or_default());
    format::set_twelve_hours(platform::remembered(HOURS_KEY).as_deref() == Some("12"));
}

/// Shows times in `zone` from now on, such as `UTC` or `Europe/Berlin`; the browser's own where it
/// is empty. Whether there is such a zone.
pub fn choose_zone(zone: &str) -> bool {
    let is_known = platform::set_zone(zone);
    if is_known {
        platform::remember(ZONE_KEY, zone);
    }
    is_known
}

/// Shows times with 12 hours from now on, or with 24.
pub fn choose_hours(twelve: bool) {
    format::set_twelve_hours(twelve);
    platform::remember(HOURS_KEY, if twelve { "12" } else { "24" });
}
