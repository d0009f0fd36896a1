//! What a machine that is laid out in a folder comes out as, and this one as it is.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use pulseboard_series::Batch;

use super::Machine;
use crate::node::{Node, describe};

/// A machine made of these files.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let node = Node::of(Machine::below(folder.path()), "a");
    (folder, node)
}

/// Every series with its value, without the labels that all have.
fn figures(node: &mut Node) -> BTreeMap<String, f64> {
    let mut batch = Batch::new();
    node.read(&mut batch, 1_000);
    assert_eq!(batch.refused().len(), 0, "{:?}", batch.refused());
    let target = r#"instance="a",job="node""#;
    let found: BTreeMap<String, f64> = batch
        .rows()
        .iter()
        .map(|row| {
            assert_eq!(row.at_ms, 1_000);
            let key = batch.key(row).to_string();
            assert!(
                key.contains(r#"instance="a""#) && key.contains(r#"job="node""#),
                "{key}"
            );
            let key = key.replace(&format!(",{target}"), "");
            (key.replace(&format!("{{{target}}}"), ""), row.value)
        })
        .collect();
    assert_eq!(found.len(), batch.rows().len(), "each series once");
    found
}

#[test]
fn a_machine_comes_out_under_node_exporters_names() {
    let (_folder, mut node) = machine(&[
        (
            "proc/stat",
            "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 250 2 30 4000 5 6 7 8 9 10\nintr 77 1 2\nctxt 12\n\
             btime 1700000000\nprocesses 5\nprocs_running 2\nprocs_blocked 1\n",
        ),
        (
            "proc/meminfo",
            "MemTotal:   100 kB\nActive(anon):  2 kB\nHugePages_Total:  3\n",
        ),
        (
            "proc/vmstat",
            "nr_free_pages 3\npgfault 4\npgmajfault 5\npgpgin 6\npswpout 7\noom_kill 8\n",
        ),
        (
            "proc/diskstats",
            "8 0 sda 10 1 4 2000 20 2 8 3000 1 500 6000\n8 1 sda1 1 1 1 1\n",
        ),
        (
            "proc/net/dev",
            "x\ny\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nveth1: 1 2\n",
        ),
        (
            "proc/net/snmp",
            "Tcp: ActiveOpens RtoMin InErrs\nTcp: 4 200 1\n",
        ),
        (
            "proc/net/snmp6",
            "Ip6InOctets \t 9\nUdp6NoPorts 3\nIp6InReceives 1\n",
        ),
        ("proc/net/sockstat", "sockets: used 3\nTCP: inuse 5 mem 2\n"),
        (
            "proc/pressure/io",
            "some avg10=0.00 total=1500000\nfull avg10=0.00 total=500000\n",
        ),
        ("proc/loadavg", "0.50 0.25 0.10 1/200 300\n"),
        ("proc/sys/fs/file-nr", "100\t0\t9000\n"),
        ("sys/class/net/eth0/speed", "1000\n"),
        ("sys/class/net/eth0/flags", "0x1003\n"),
        ("sys/class/net/eth0/operstate", "up\n"),
        (
            "etc/os-release",
            "ID=debian\nVERSION_ID=\"12.5\"\nNAME='Debian'\n",
        ),
    ]);
    let found = figures(&mut node);
    for (series, value) in [
        (r#"node_cpu_seconds_total{cpu="0",mode="user"}"#, 2.5),
        (r#"node_cpu_seconds_total{cpu="0",mode="idle"}"#, 40.0),
        (r#"node_cpu_guest_seconds_total{cpu="0",mode="nice"}"#, 0.1),
        ("node_intr_total", 77.0),
        ("node_boot_time_seconds", 1_700_000_000.0),
        ("node_forks_total", 5.0),
        ("node_memory_MemTotal_bytes", 102_400.0),
        ("node_memory_Active_anon_bytes", 2_048.0),
        ("node_memory_HugePages_Total", 3.0),
        ("node_vmstat_pgmajfault", 5.0),
        ("node_vmstat_oom_kill", 8.0),
        (r#"node_disk_read_bytes_total{device="sda"}"#, 2_048.0),
        (r#"node_disk_write_time_seconds_total{device="sda"}"#, 3.0),
        (r#"node_network_receive_bytes_total{device="eth0"}"#, 1.0),
        (r#"node_network_transmit_bytes_total{device="eth0"}"#, 9.0),
        (r#"node_network_transmit_drop_total{device="eth0"}"#, 12.0),
        (r#"node_network_speed_bytes{device="eth0"}"#, 125e6),
        (r#"node_network_flags{device="eth0"}"#, 4_099.0),
        (r#"node_network_up{device="eth0"}"#, 1.0),
        ("node_netstat_Tcp_ActiveOpens", 4.0),
        ("node_netstat_Tcp_InErrs", 1.0),
        ("node_netstat_Ip6_InOctets", 9.0),
        ("node_netstat_Udp6_NoPorts", 3.0),
        ("node_sockstat_sockets_used", 3.0),
        ("node_sockstat_TCP_mem", 2.0),
        ("node_pressure_io_waiting_seconds_total", 1.5),
        ("node_pressure_io_stalled_seconds_total", 0.5),
        ("node_load5", 0.25),
        ("node_filefd_maximum", 9_000.0),
        (r#"node_os_version{id="debian",name="Debian"}"#, 12.5),
        (r#"node_scrape_collector_success{collector="cpu"}"#, 1.0),
        (r#"node_scrape_collector_success{collector="os"}"#, 1.0),
        // There is no such file.
        (r#"node_scrape_collector_success{collector="entropy"}"#, 0.0),
        (r#"node_scrape_collector_success{collector="arp"}"#, 0.0),
    ] {
        let told = found.get(series).copied();
        assert!(
            told.is_some_and(|told| (told - value).abs() < 1e-9),
            "{series}: {told:?}"
        );
    }
    let took = found[r#"node_scrape_collector_duration_seconds{collector="meminfo"}"#];
    assert!(took > 0.0 && took < 10.0, "{took}");
    let build = found.iter();
    let mut build = build.filter(|(key, _)| key.starts_with("node_exporter_build_info{"));
    let (labels, value) = build.next().expect("what tells them");
    assert!(labels.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")));
    assert_eq!((*value, build.next()), (1.0, None));
    for left_out in [
        "nr_free_pages",
        "sda1",
        "veth1",
        "Tcp_RtoMin",
        "Ip6_InReceives",
    ] {
        assert!(
            !found.keys().any(|key| key.contains(left_out)),
            "{left_out}"
        );
    }
}

/// The kernel's idle times step back by a little now and then; a counter that did would look as if
/// the machine had started anew.
#[test]
fn times_of_processors_do_not_step_back() {
    let (folder, mut node) = machine(&[("proc/stat", "cpu0 1 0 0 1000 50 0 0 0 0 0\n")]);
    let idle = r#"node_cpu_seconds_total{cpu="0",mode="idle"}"#;
    assert_eq!(figures(&mut node)[idle], 10.0);
    let say = |text: &str| fs::write(folder.path().join("proc/stat"), text).expect("written");
    say("cpu0 1 0 0 990 50 0 0 0 0 0\n");
    assert_eq!(figures(&mut node)[idle], 10.0);
    say("cpu0 1 0 0 7 5 0 0 0 0 0\n");
    assert_eq!(
        figures(&mut node)[idle],
        0.07,
        "a processor that was away begins anew"
    );
}

#[test]
fn chips_say_their_temperatures() {
    let (_folder, mut node) = machine(&[
        ("sys/class/hwmon/hwmon0/name", "coretemp\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "45500\n"),
        ("sys/class/hwmon/hwmon0/temp1_crit", "100000\n"),
        ("sys/class/hwmon/hwmon0/temp1_crit_alarm", "0\n"),
        ("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n"),
        ("sys/class/hwmon/hwmon0/fan2_input", "1200\n"),
    ]);
    let sensor = |name: &str| format!(r#"{name}{{chip="coretemp",sensor="temp1"}}"#);
    let temperature = sensor("node_hwmon_temp_celsius");
    let (began, mut found) = (Instant::now(), figures(&mut node));
    while began.elapsed() < Duration::from_secs(10) && !found.contains_key(&temperature) {
        std::thread::sleep(Duration::from_millis(5));
        found = figures(&mut node);
    }
    assert_eq!(found[&temperature], 45.5);
    assert_eq!(found[&sensor("node_hwmon_temp_crit_celsius")], 100.0);
    assert_eq!(found[&sensor("node_hwmon_temp_crit_alarm_celsius")], 0.0);
    assert_eq!(
        found[r#"node_hwmon_fan_rpm{chip="coretemp",sensor="fan2"}"#],
        1200.0
    );
    let label = r#"node_hwmon_sensor_label{chip="coretemp",label="Package id 0",sensor="temp1"}"#;
    assert_eq!(found[label], 1.0);
    assert_eq!(
        found[r#"node_scrape_collector_success{collector="hwmon"}"#],
        1.0
    );
}

/// Everything that this machine says has a type and a text.
#[test]
fn whatever_this_machine_tells_is_described() {
    let mut node = Node::new("a");
    let mut batch = Batch::new();
    node.read(&mut batch, 1_000);
    assert!(batch.rows().len() > 100, "{}", batch.rows().len());
    for row in batch.rows() {
        let name = batch.key(row).name();
        let (kind, help) = describe(name).unwrap_or_else(|| panic!("{name} has no description"));
        assert_eq!(batch.description(row).0, kind, "{name}");
        assert!(help.ends_with('.'), "{name}");
    }
    assert_eq!(describe("cpu_usage"), None);
}
