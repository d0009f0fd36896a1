//! Network interfaces: `/proc/net/dev` for what went through them, `/sys/class/net` for what they
//! are.

use super::files::Files;
use crate::metric::{Metric, Sink, counter, gauge};
use crate::node::passing::is_passing;

/// The columns of `/proc/net/dev`.
static COLUMNS: [Metric; 16] = [
    counter("node_network_receive_bytes_total", "Bytes received."),
    counter("node_network_receive_packets_total", "Packets received."),
    counter(
        "node_network_receive_errs_total",
        "Packets that came broken.",
    ),
    counter(
        "node_network_receive_drop_total",
        "Packets that came and were dropped.",
    ),
    counter(
        "node_network_receive_fifo_total",
        "Packets that found the receive buffer full.",
    ),
    counter(
        "node_network_receive_frame_total",
        "Packets of a wrong length or checksum.",
    ),
    counter(
        "node_network_receive_compressed_total",
        "Compressed packets received.",
    ),
    counter(
        "node_network_receive_multicast_total",
        "Packets to many received.",
    ),
    counter("node_network_transmit_bytes_total", "Bytes sent."),
    counter("node_network_transmit_packets_total", "Packets sent."),
    counter(
        "node_network_transmit_errs_total",
        "Packets that could not be sent.",
    ),
    counter(
        "node_network_transmit_drop_total",
        "Packets to be sent that were dropped.",
    ),
    counter(
        "node_network_transmit_fifo_total",
        "Packets that found the send buffer full.",
    ),
    counter(
        "node_network_transmit_colls_total",
        "Collisions while sending.",
    ),
    counter(
        "node_network_transmit_carrier_total",
        "Packets not sent because the line was lost.",
    ),
    counter(
        "node_network_transmit_compressed_total",
        "Compressed packets sent.",
    ),
];

/// Files of an interface's folder that hold one whole number.
static FIGURES: [(&str, Metric, f64); 18] = [
    (
        "addr_assign_type",
        gauge(
            "node_network_address_assign_type",
            "How it got its address: 0 its own, 1 random, 2 another's, 3 set.",
        ),
        1.0,
    ),
    (
        "carrier",
        gauge("node_network_carrier", "Whether the line is there."),
        1.0,
    ),
    (
        "carrier_changes",
        counter(
            "node_network_carrier_changes_total",
            "Times that the line came or went.",
        ),
        1.0,
    ),
    (
        "carrier_up_count",
        counter(
            "node_network_carrier_up_changes_total",
            "Times that the line came.",
        ),
        1.0,
    ),
    (
        "carrier_down_count",
        counter(
            "node_network_carrier_down_changes_total",
            "Times that the line went.",
        ),
        1.0,
    ),
    (
        "dev_id",
        gauge(
            "node_network_device_id",
            "Tells interfaces with one address apart.",
        ),
        1.0,
    ),
    (
        "dormant",
        gauge(
            "node_network_dormant",
            "Whether it waits for something else to be used.",
        ),
        1.0,
    ),
    (
        "flags",
        gauge(
            "node_network_flags",
            "Its flags (netdevice(7)), as a number.",
        ),
        1.0,
    ),
    (
        "ifindex",
        gauge("node_network_iface_id", "Its number."),
        1.0,
    ),
    (
        "iflink",
        gauge(
            "node_network_iface_link",
            "Number of the interface that it sends by.",
        ),
        1.0,
    ),
    (
        "link_mode",
        gauge("node_network_iface_link_mode", "0: plain, 1: dormant."),
        1.0,
    ),
    (
        "mtu",
        gauge("node_network_mtu_bytes", "Bytes of its largest packet."),
        1.0,
    ),
    (
        "name_assign_type",
        gauge(
            "node_network_name_assign_type",
            "How it got its name: 1 by the kernel, 3 by a program, 4 renamed.",
        ),
        1.0,
    ),
    (
        "netdev_group",
        gauge("node_network_net_dev_group", "Its group."),
        1.0,
    ),
    (
        "speed",
        gauge(
            "node_network_speed_bytes",
            "Bytes a second that its line can do; negative where it does not know.",
        ),
        // Of megabits.
        1e6 / 8.0,
    ),
    (
        "tx_queue_len",
        gauge(
            "node_network_transmit_queue_length",
            "Packets that may wait to be sent.",
        ),
        1.0,
    ),
    (
        "type",
        gauge(
            "node_network_protocol_type",
            "Kind of hardware, by the kernel's number.",
        ),
        1.0,
    ),
    (
        "statistics/rx_nohandler",
        counter(
            "node_network_receive_nohandler_total",
            "Packets received that nobody wanted.",
        ),
        1.0,
    ),
];
static UP: Metric = gauge("node_network_up", "Whether it is in operation.");
static INFO: Metric = gauge("node_network_info", "What each interface is; always 1.");
static SLAVES: Metric = gauge("node_bonding_slaves", "Interfaces that make up a bond.");
static ACTIVE: Metric = gauge("node_bonding_active", "Those of them whose line is there.");

/// Files of an interface's folder that are labels of [`INFO`].
const TEXTS: [(&str, &str); 5] = [
    ("address", "address"),
    ("broadcast", "broadcast"),
    ("duplex", "duplex"),
    ("ifalias", "ifalias"),
    ("operstate", "operstate"),
];

/// Interfaces of one machine that are told, at most.
const INTERFACES_MAX: usize = 512;

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    COLUMNS
        .iter()
        .chain(FIGURES.iter().map(|(_, metric, _)| metric))
        .chain([&UP, &INFO, &SLAVES, &ACTIVE])
}

/// `/proc/net/dev`.
pub(super) fn counters(files: &mut Files, sink: &mut impl Sink) {
    let Some(text) = files.read("proc/net/dev") else {
        return;
    };
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let told = lines.filter(|(interface, _)| !is_passing(interface.trim()));
    for (interface, numbers) in told.take(INTERFACES_MAX) {
        let labels = [("device", interface.trim())];
        for (metric, number) in COLUMNS.iter().zip(numbers.split_ascii_whitespace()) {
            if let Ok(number) = number.parse::<f64>() {
                sink.put(metric, &labels, number);
            }
        }
    }
}

/// What is in `/sys/class/net`: some twenty files an interface, so not for every moment.
pub(super) fn classes(files: &mut Files, sink: &mut impl Sink) {
    let mut interfaces = files.names("sys/class/net");
    // A folder for each interface, and `bonding_masters`.
    interfaces.retain(|name| !is_passing(name) && name != "bonding_masters");
    interfaces.truncate(INTERFACES_MAX);
    for interface in &interfaces {
        let labels = [("device", interface.as_str())];
        let folder = format!("sys/class/net/{interface}");
        for (file, metric, scale) in &FIGURES {
            // Several cannot be read while the interface is down.
            if let Some(number) = files.integer(&format!("{folder}/{file}")) {
                sink.put(metric, &labels, number * scale);
            }
        }
        let mut texts = vec![("device", interface.clone())];
        texts.extend(TEXTS.iter().map(|(label, file)| {
            let text = files.line(&format!("{folder}/{file}"));
            (*label, text.unwrap_or_default().to_owned())
        }));
        let is_up = texts
            .iter()
            .any(|(label, text)| *label == "operstate" && text == "up");
        sink.put(&UP, &labels, f64::from(u8::from(is_up)));
        sink.put(&INFO, &texts, 1.0);
    }
    let bonds = files
        .line("sys/class/net/bonding_masters")
        .unwrap_or_default()
        .to_owned();
    for bond in bonds.split_ascii_whitespace() {
        let folder = format!("sys/class/net/{bond}");
        let parts = files
            .line(&format!("{folder}/bonding/slaves"))
            .unwrap_or_default()
            .to_owned();
        let mut count = (0.0, 0.0);
        for part in parts.split_ascii_whitespace() {
            let state = files.line(&format!("{folder}/lower_{part}/bonding_slave/mii_status"));
            count.0 += 1.0;
            count.1 += f64::from(u8::from(state == Some("up")));
        }
        let labels = [("master", bond)];
        sink.put(&SLAVES, &labels, count.0);
        sink.put(&ACTIVE, &labels, count.1);
    }
}
