//! What the network stack counts beside interfaces: protocols, sockets, queues, neighbours,
//! connections that are tracked.

use std::collections::BTreeMap;

use pulseboard_series::Kind;

use super::files::Files;
use crate::metric::{Metric, Sink, counter, gauge};

/// What names of protocols' counters begin with here.
pub(super) const PROTOCOLS: &str = "node_netstat_";
/// What names of sockets' figures begin with here.
pub(super) const SOCKETS: &str = "node_sockstat_";

static ARP: Metric = gauge("node_arp_entries", "Neighbours known by address.");
static CONNTRACK: [(&str, Metric); 2] = [
    (
        "proc/sys/net/netfilter/nf_conntrack_count",
        gauge("node_nf_conntrack_entries", "Connections that are tracked."),
    ),
    (
        "proc/sys/net/netfilter/nf_conntrack_max",
        gauge(
            "node_nf_conntrack_entries_limit",
            "Connections that can be tracked.",
        ),
    ),
];
static TRACKING: [(&str, Metric); 8] = [
    (
        "found",
        gauge("node_nf_conntrack_stat_found", "Searches that found one."),
    ),
    (
        "invalid",
        gauge(
            "node_nf_conntrack_stat_invalid",
            "Packets that cannot be tracked.",
        ),
    ),
    (
        "ignore",
        gauge(
            "node_nf_conntrack_stat_ignore",
            "Packets of a connection that is known.",
        ),
    ),
    (
        "insert",
        gauge("node_nf_conntrack_stat_insert", "Connections put in."),
    ),
    (
        "insert_failed",
        gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Connections that were there already.",
        ),
    ),
    (
        "drop",
        gauge(
            "node_nf_conntrack_stat_drop",
            "Packets dropped for want of room.",
        ),
    ),
    (
        "early_drop",
        gauge(
            "node_nf_conntrack_stat_early_drop",
            "Connections forgotten to make room.",
        ),
    ),
    (
        "search_restart",
        gauge(
            "node_nf_conntrack_stat_search_restart",
            "Searches that had to begin anew.",
        ),
    ),
];
/// By column of `/proc/net/softnet_stat`.
static SOFTNET: [Metric; 3] = [
    counter(
        "node_softnet_processed_total",
        "Packets that each processor worked on.",
    ),
    counter(
        "node_softnet_dropped_total",
        "Packets dropped because a processor's queue was full.",
    ),
    counter(
        "node_softnet_times_squeezed_total",
        "Times that a processor's turn ended before its queue did.",
    ),
];
static QUEUES: Metric = gauge(
    "node_udp_queues",
    "Bytes that wait in the queues of UDP sockets.",
);

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    let named = CONNTRACK.iter().chain(&TRACKING).map(|(_, metric)| metric);
    [&ARP, &QUEUES].into_iter().chain(named).chain(&SOFTNET)
}

/// Counters of protocols, out of some 400.
const COUNTERS: [&str; 20] = [
    "Ip_Forwarding",
    "Ip6_InOctets",
    "Ip6_OutOctets",
    "IpExt_InOctets",
    "IpExt_OutOctets",
    "Icmp_InMsgs",
    "Icmp_OutMsgs",
    "Icmp6_InMsgs",
    "Icmp6_OutMsgs",
    "TcpExt_TCPSynRetrans",
    "TcpExt_TCPTimeouts",
    "TcpExt_TCPOFOQueue",
    "TcpExt_TCPRcvQDrop",
    "Tcp_ActiveOpens",
    "Tcp_InSegs",
    "Tcp_OutSegs",
    "Tcp_OutRsts",
    "Tcp_PassiveOpens",
    "Tcp_RetransSegs",
    "Tcp_CurrEstab",
];
/// Of UDP, with and without a 6.
const UDP_COUNTERS: [&str; 5] = [
    "InDatagrams",
    "OutDatagrams",
    "NoPorts",
    "RcvbufErrors",
    "SndbufErrors",
];

fn is_told(protocol: &str, counter: &str) -> bool {
    matches!(counter, "InErrors" | "InErrs")
        || matches!(protocol, "Udp" | "Udp6") && UDP_COUNTERS.contains(&counter)
        || protocol == "TcpExt"
            && (counter.starts_with("Listen") || counter.starts_with("Syncookies"))
        || COUNTERS.iter().any(|told| {
            let rest = told.strip_prefix(protocol);
            rest.and_then(|rest| rest.strip_prefix('_')) == Some(counter)
        })
}

/// `/proc/net/netstat` and `snmp` (a line of names, a line of numbers), `snmp6` (a line each).
pub(super) fn protocols(files: &mut Files, sink: &mut impl Sink) {
    for path in ["proc/net/netstat", "proc/net/snmp"] {
        let Some(text) = files.read(path) else {
            continue;
        };
        let mut lines = text.lines();
        while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
            let Some((protocol, names)) = names.split_once(':') else {
                continue;
            };
            let numbers = numbers.split_ascii_whitespace().skip(1);
            for (name, number) in names.split_ascii_whitespace().zip(numbers) {
                counted(sink, protocol, name, number);
            }
        }
    }
    let Some(text) = files.read("proc/net/snmp6") else {
        return;
    };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some(name), Some(number)) = (words.next(), words.next())
            && let Some((_, counter)) = name.split_once('6')
        {
            let protocol = &name[..name.len() - counter.len()];
            counted(sink, protocol, counter, number);
        }
    }
}

fn counted(sink: &mut impl Sink, protocol: &str, counter: &str, number: &str) {
    if is_told(protocol, counter)
        && let Ok(number) = number.parse::<f64>()
    {
        let name = [PROTOCOLS, protocol, "_", counter];
        sink.sample(&name, Kind::Unknown, &[("", ""); 0], number);
    }
}

/// `/proc/net/sockstat` and its like for IPv6: `TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1`. Memory
/// is in pages there, and told in bytes too.
pub(super) fn sockets(files: &mut Files, sink: &mut impl Sink) {
    let page = rustix::param::page_size() as f64;
    for path in ["proc/net/sockstat", "proc/net/sockstat6"] {
        let Some(text) = files.read(path) else {
            continue;
        };
        for line in text.lines() {
            let Some((protocol, figures)) = line.split_once(':') else {
                continue;
            };
            let mut words = figures.split_ascii_whitespace();
            while let (Some(figure), Some(number)) = (words.next(), words.next()) {
                let Ok(number) = number.parse::<f64>() else {
                    continue;
                };
                let mut put = |unit, number| {
                    let name = [SOCKETS, protocol, "_", figure, unit];
                    sink.sample(&name, Kind::Gauge, &[("", ""); 0], number);
                };
                put("", number);
                if figure == "mem" {
                    put("_bytes", number * page);
                }
            }
        }
    }
}

/// `/proc/net/softnet_stat`: hexadecimal numbers, a line a processor.
pub(super) fn softnet(files: &mut Files, sink: &mut impl Sink) {
    let Some(text) = files.read("proc/net/softnet_stat") else {
        return;
    };
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        // Kernels from 5.10 on say which processor it is; without those that are off, lines shift.
        let cpu = number(12).map_or(index, |cpu| cpu as usize).to_string();
        for (at, metric) in SOFTNET.iter().enumerate() {
            if let Some(number) = number(at) {
                sink.put(metric, &[("cpu", &cpu)], f64::from(number));
            }
        }
    }
}

/// Neighbours. This table and those that follow may be long.
pub(super) fn neighbours(files: &mut Files, sink: &mut impl Sink) {
    if let Some(text) = files.read("proc/net/arp") {
        let mut entries: BTreeMap<&str, f64> = BTreeMap::new();
        for line in text.lines().skip(1) {
            if let Some(device) = line.split_ascii_whitespace().nth(5) {
                *entries.entry(device).or_default() += 1.0;
            }
        }
        for (device, count) in entries {
            sink.put(&ARP, &[("device", device)], count);
        }
    }
}

/// What waits in UDP sockets.
pub(super) fn queues(files: &mut Files, sink: &mut impl Sink) {
    for (version, path) in [("v4", "proc/net/udp"), ("v6", "proc/net/udp6")] {
        let Some(text) = files.read(path) else {
            continue;
        };
        let mut waiting = (0.0, 0.0);
        for line in text.lines().skip(1) {
            let queues = line.split_ascii_whitespace().nth(4);
            if let Some((sending, received)) = queues.and_then(|queues| queues.split_once(':')) {
                let bytes = |digits| u64::from_str_radix(digits, 16).unwrap_or_default() as f64;
                waiting.0 += bytes(sending);
                waiting.1 += bytes(received);
            }
        }
        for (queue, bytes) in [("tx", waiting.0), ("rx", waiting.1)] {
            sink.put(&QUEUES, &[("ip", version), ("queue", queue)], bytes);
        }
    }
}

/// Connections that the kernel keeps track of.
pub(super) fn connections(files: &mut Files, sink: &mut impl Sink) {
    for (path, metric) in &CONNTRACK {
        if let Some(number) = files.number(path) {
            sink.plain(metric, number);
        }
    }
    let Some(text) = files.read("proc/net/stat/nf_conntrack") else {
        return;
    };
    let mut lines = text.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .collect();
    let mut sums = vec![0_u64; names.len()];
    // A line a processor.
    for line in lines {
        for (sum, digits) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            *sum += u64::from_str_radix(digits, 16).unwrap_or_default();
        }
    }
    for (name, metric) in &TRACKING {
        if let Some(at) = names.iter().position(|known| known == name) {
            sink.plain(metric, sums[at] as f64);
        }
    }
}
