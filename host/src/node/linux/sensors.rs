//! Sensors: temperatures, fans, voltages, frequencies, batteries. Some take milliseconds to answer,
//! so this is for a thread that may wait.

use pulseboard_series::Kind;

use super::files::Files;
use crate::metric::{Metric, Sink, counter, gauge};

/// What the names of a chip's figures begin with.
pub(super) const CHIPS: &str = "node_hwmon_";
/// What the names of a battery's or power supply's figures begin with.
pub(super) const SUPPLIES: &str = "node_power_supply_";

static CHIP_NAMES: Metric = gauge(
    "node_hwmon_chip_names",
    "What each chip is called; always 1.",
);
static SENSOR_LABELS: Metric = gauge(
    "node_hwmon_sensor_label",
    "What each sensor is called; always 1.",
);
static ZONE: Metric = gauge("node_thermal_zone_temp", "Degrees Celsius of a zone.");
static COOLING: [(&str, Metric); 2] = [
    (
        "cur_state",
        gauge(
            "node_cooling_device_cur_state",
            "How hard a cooling device works.",
        ),
    ),
    (
        "max_state",
        gauge(
            "node_cooling_device_max_state",
            "How hard a cooling device can work.",
        ),
    ),
];
/// Files of a processor's folder, in kilohertz.
static FREQUENCIES: [(&str, Metric); 6] = [
    (
        "cpuinfo_cur_freq",
        gauge("node_cpu_frequency_hertz", "Clock of each processor."),
    ),
    (
        "cpuinfo_min_freq",
        gauge("node_cpu_frequency_min_hertz", "Lowest clock that it has."),
    ),
    (
        "cpuinfo_max_freq",
        gauge("node_cpu_frequency_max_hertz", "Highest clock that it has."),
    ),
    (
        "scaling_cur_freq",
        gauge(
            "node_cpu_scaling_frequency_hertz",
            "Clock of each processor, as the kernel set it.",
        ),
    ),
    (
        "scaling_min_freq",
        gauge(
            "node_cpu_scaling_frequency_min_hertz",
            "Lowest clock that the kernel may set.",
        ),
    ),
    (
        "scaling_max_freq",
        gauge(
            "node_cpu_scaling_frequency_max_hertz",
            "Highest clock that the kernel may set.",
        ),
    ),
];
static THROTTLES: [(&str, Metric); 2] = [
    (
        "core_throttle_count",
        counter(
            "node_cpu_core_throttles_total",
            "Times that a core was slowed because it was hot.",
        ),
    ),
    (
        "package_throttle_count",
        counter(
            "node_cpu_package_throttles_total",
            "Times that a package was slowed because it was hot.",
        ),
    ),
];

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    let named = COOLING.iter().chain(&FREQUENCIES).chain(&THROTTLES);
    [&CHIP_NAMES, &SENSOR_LABELS, &ZONE]
        .into_iter()
        .chain(named.map(|(_, metric)| metric))
}

/// Files of a power supply's folder that are numbers, what they are called here, and their unit in
/// millionths where the kernel counts so.
const SUPPLY_FIGURES: [(&str, &str, f64); 14] = [
    ("capacity", "capacity", 1.0),
    ("cycle_count", "cyclecount", 1.0),
    ("online", "online", 1.0),
    ("present", "present", 1.0),
    ("charge_full", "charge_full", 1e-6),
    ("charge_full_design", "charge_full_design", 1e-6),
    ("charge_now", "charge_ampere", 1e-6),
    ("current_now", "current_ampere", 1e-6),
    ("energy_full", "energy_full", 1e-6),
    ("energy_full_design", "energy_full_design", 1e-6),
    ("energy_now", "energy_watthour", 1e-6),
    ("power_now", "power_watt", 1e-6),
    ("voltage_now", "voltage_volt", 1e-6),
    ("voltage_min_design", "voltage_min_design", 1e-6),
];

/// All of them.
pub(super) fn read(files: &mut Files, sink: &mut impl Sink) {
    for chip in files.names("sys/class/hwmon") {
        hwmon(files, &format!("sys/class/hwmon/{chip}"), sink);
    }
    for entry in files.names("sys/class/thermal") {
        let folder = format!("sys/class/thermal/{entry}");
        let kind = files
            .line(&format!("{folder}/type"))
            .unwrap_or_default()
            .to_owned();
        if let Some(zone) = entry.strip_prefix("thermal_zone") {
            if let Some(degrees) = files.number(&format!("{folder}/temp")) {
                sink.put(&ZONE, &[("type", &*kind), ("zone", zone)], degrees / 1000.0);
            }
        } else if let Some(device) = entry.strip_prefix("cooling_device") {
            for (file, metric) in &COOLING {
                if let Some(state) = files.number(&format!("{folder}/{file}")) {
                    sink.put(metric, &[("name", device), ("type", &kind)], state);
                }
            }
        }
    }
    for supply in files.names("sys/class/power_supply") {
        for (file, name, scale) in SUPPLY_FIGURES {
            let path = format!("sys/class/power_supply/{supply}/{file}");
            if let Some(number) = files.number(&path) {
                let labels = [("power_supply", &supply)];
                sink.sample(&[SUPPLIES, name], Kind::Gauge, &labels, number * scale);
            }
        }
    }
    processors(files, sink);
}

fn processors(files: &mut Files, sink: &mut impl Sink) {
    let mut packages = Vec::new();
    for entry in files.names("sys/devices/system/cpu") {
        let Some(cpu) = entry
            .strip_prefix("cpu")
            .filter(|cpu| cpu.parse::<u32>().is_ok())
        else {
            continue;
        };
        let folder = format!("sys/devices/system/cpu/{entry}");
        for (file, metric) in &FREQUENCIES {
            if let Some(kilohertz) = files.number(&format!("{folder}/cpufreq/{file}")) {
                sink.put(metric, &[("cpu", cpu)], kilohertz * 1000.0);
            }
        }
        let mut text = |file: &str| files.line(&format!("{folder}/{file}")).map(str::to_owned);
        let core = text("topology/core_id").unwrap_or_default();
        let package = text("topology/physical_package_id").unwrap_or_default();
        for (file, metric) in &THROTTLES {
            let count = text(&format!("thermal_throttle/{file}"));
            let Some(count) = count.and_then(|count| count.parse::<f64>().ok()) else {
                continue;
            };
            // Threads of a core tell the same, and so do cores of a package.
            let place = match *file {
                "core_throttle_count" => (Some(core.clone()), package.clone()),
                _ => (None, package.clone()),
            };
            if packages.contains(&place) {
                continue;
            }
            let core = place.0.as_deref().unwrap_or_default();
            sink.put(metric, &[("core", core), ("package", &package)], count);
            packages.push(place);
        }
    }
}

/// One chip (kernel: Documentation/hwmon/sysfs-interface.rst): files such as `temp1_input`.
fn hwmon(files: &mut Files, folder: &str, sink: &mut impl Sink) {
    let name = files
        .line(&format!("{folder}/name"))
        .unwrap_or_default()
        .to_owned();
    let chip = chip_name(files, folder).unwrap_or_else(|| cleaned(&name));
    if !name.is_empty() {
        sink.put(&CHIP_NAMES, &[("chip", &*chip), ("chip_name", &name)], 1.0);
    }
    for file in files.names(folder) {
        let Some((sensor, figure)) = file.split_once('_') else {
            continue;
        };
        let kind = sensor.trim_end_matches(|c: char| c.is_ascii_digit());
        let Some((_, unit, scale)) = UNITS.iter().find(|(known, _, _)| *known == kind) else {
            continue;
        };
        let path = format!("{folder}/{file}");
        let labels = [("chip", &*chip), ("sensor", sensor)];
        if figure == "label" {
            let label = files.line(&path).unwrap_or_default();
            let labels = [labels[0], ("label", label), labels[1]];
            sink.put(&SENSOR_LABELS, &labels, 1.0);
        } else if let Some(number) = files.number(&path) {
            let (figure, dash) = match figure {
                "input" => ("", ""),
                figure => (figure, "_"),
            };
            // A switch or a state has no unit.
            let is_plain = matches!(
                figure,
                "alarm" | "enable" | "beep" | "fault" | "type" | "div" | "pulses"
            ) || unit.is_empty();
            let (unit, before_unit, scale) = match is_plain {
                true => ("", "", 1.0),
                false => (*unit, "_", *scale),
            };
            let name = [CHIPS, kind, dash, figure, before_unit, unit];
            sink.sample(&name, Kind::Gauge, &labels, number * scale);
        }
    }
}

/// Kinds of sensors, and what their numbers are to be multiplied by to be of the unit.
const UNITS: [(&str, &str, f64); 9] = [
    ("temp", "celsius", 1e-3),
    ("in", "volts", 1e-3),
    ("fan", "rpm", 1.0),
    ("curr", "amps", 1e-3),
    ("power", "watt", 1e-6),
    ("energy", "joule_total", 1e-6),
    ("humidity", "", 1.0),
    ("freq", "freq_mhz", 1e-6),
    ("pwm", "", 1.0),
];

/// `platform_coretemp_0` of `…/platform/coretemp.0`: the device that the chip is of.
fn chip_name(files: &Files, folder: &str) -> Option<String> {
    let device = std::fs::canonicalize(files.path(folder).join("device")).ok()?;
    let name = device.file_name()?.to_str()?;
    let bus = device.parent()?.file_name()?.to_str()?;
    Some(format!("{}_{}", cleaned(bus), cleaned(name)))
}

/// Lower case, and `_` for what may not stand in a name.
fn cleaned(name: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '_',
    };
    let name: String = name.chars().map(plain).collect();
    name.trim_matches('_').to_owned()
}
