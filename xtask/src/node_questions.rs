//! What dashboards of a node ask, for `bench query --node`: each figure of node_exporter as a panel
//! has it, and what is made of several.

/// As many as a public dashboard of node_exporter has.
const COUNT: usize = 286;

/// Which figures a panel draws.
const OF: &str = "{instance=\"localhost:9100\",job=\"node\"}";

/// What is made of several figures, or of many series of one; `OF` stands for the node.
const MADE: [&str; 30] = [
    "100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\",instance=\"localhost:9100\"}[2m])))",
    "sum by (mode) (rate(node_cpu_seconds_total OF[2m])) / on () group_left () count(count by (cpu) (node_cpu_seconds_total OF))",
    "sum by (cpu) (rate(node_cpu_seconds_total{mode!=\"idle\",instance=\"localhost:9100\",job=\"node\"}[2m]))",
    "topk(3, sum by (mode) (rate(node_cpu_seconds_total OF[5m])))",
    "100 * node_load5 OF / on () group_left () count(count by (cpu) (node_cpu_seconds_total OF))",
    "100 * (1 - node_memory_MemAvailable_bytes OF / node_memory_MemTotal_bytes OF)",
    "node_memory_MemTotal_bytes OF - node_memory_MemFree_bytes OF - node_memory_Buffers_bytes OF - node_memory_Cached_bytes OF",
    "(node_memory_SwapTotal_bytes OF - node_memory_SwapFree_bytes OF) / (node_memory_SwapTotal_bytes OF > 0)",
    "node_memory_Cached_bytes OF + node_memory_SReclaimable_bytes OF - node_memory_Shmem_bytes OF",
    "100 * (1 - node_filesystem_avail_bytes{fstype!~\"tmpfs|overlay\",job=\"node\"} / node_filesystem_size_bytes{fstype!~\"tmpfs|overlay\",job=\"node\"})",
    "min by (mountpoint) (node_filesystem_files_free OF / (node_filesystem_files OF > 0))",
    "predict_linear(node_filesystem_avail_bytes OF[1h], 4 * 3600)",
    "sum by (device) (rate(node_disk_read_bytes_total OF[2m]) + rate(node_disk_written_bytes_total OF[2m]))",
    "rate(node_disk_read_time_seconds_total OF[2m]) / rate(node_disk_reads_completed_total OF[2m])",
    "rate(node_disk_write_time_seconds_total OF[2m]) / rate(node_disk_writes_completed_total OF[2m])",
    "max by (device) (rate(node_disk_io_time_seconds_total OF[2m]))",
    "8 * rate(node_network_receive_bytes_total{device!~\"lo|veth.*\",job=\"node\"}[2m])",
    "-8 * irate(node_network_transmit_bytes_total{device!=\"lo\",job=\"node\"}[2m])",
    "sum(increase(node_network_receive_errs_total OF[5m]) + increase(node_network_transmit_errs_total OF[5m]))",
    "rate(node_network_receive_bytes_total OF[2m]) / (rate(node_network_receive_packets_total OF[2m]) > 0)",
    "node_time_seconds OF - node_boot_time_seconds OF",
    "time() - node_boot_time_seconds OF",
    "max_over_time(node_load1 OF[30m])",
    "avg_over_time(node_load1 OF[30m])",
    "quantile_over_time(0.95, node_memory_MemAvailable_bytes OF[15m])",
    "deriv(node_memory_MemFree_bytes OF[15m])",
    "sum(node_sockstat_TCP_inuse OF) + sum(node_sockstat_TCP_tw OF)",
    "100 * node_filefd_allocated OF / node_filefd_maximum OF",
    "rate(node_context_switches_total OF[2m]) / rate(node_intr_total OF[2m])",
    "sum by (collector) (node_scrape_collector_duration_seconds OF) > 0",
];

/// The questions for the figures that an exposition has.
pub(crate) fn of(exposition: &str) -> Vec<String> {
    let made = MADE.iter().map(|expression| expression.replace(" OF", OF));
    let figures = exposition.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let grows = kind == "counter" || name.starts_with("node_netstat_");
        let selected = format!("{name}{OF}");
        Some(match grows {
            true => format!("irate({selected}[5m])"),
            false => selected,
        })
    });
    made.chain(figures).take(COUNT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_asked_for_once() {
        let questions = of("# TYPE node_a_total counter\nnode_a_total 1\n# TYPE node_b gauge\n");
        assert_eq!(questions.len(), MADE.len() + 2);
        assert!(questions.iter().all(|question| !question.contains(" OF")));
        assert_eq!(
            questions.get(MADE.len()).map(String::as_str),
            Some("irate(node_a_total{instance=\"localhost:9100\",job=\"node\"}[5m])")
        );
    }
}
