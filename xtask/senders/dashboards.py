"""Expressions in the shapes of public dashboards (`dashboards.txt`), asked of a real Prometheus and of
the server over the same made samples, at one time and over ranges, and compared value by value.

Started by `cargo xtask test-senders` with the server's program. The samples come from a seed that is
said; `PULSEBOARD_SEED` sets it. A second tenant of the server has other samples under the same names,
and is asked too.

Debian's Prometheus is 2.42, whose ranges are closed to the left where those of 3 are open. So samples
are at .15, .25 and .35 of a second, questions at .5 or .3, and subqueries look at whole ones.
"""

import json
import math
import os
import random
import sys
import tempfile
import time

import api

SERVER = sys.argv[1]
SEED = int(os.environ.get("PULSEBOARD_SEED") or random.SystemRandom().randrange(1 << 32))
END_S = int(time.time()) // 60 * 60 - 60
LENGTH_S = 2 * 3600 + 600
EVERY_S = 15

# Sums are added up in another order, and with less care in 2.42.
NEAR = 1e-9

# Values are so many parts of a whole: hardly ever are two the same, of which 2.42 would keep another
# one in `topk` than 3 does.
FINE = 1 << 20

MODES = ["idle", "user", "system", "iowait", "nice", "irq", "softirq", "steal"]
DURATIONS = ["0.005", "0.05", "0.1", "0.3", "0.5", "1.2", "5", "+Inf"]
HOSTS = {"job": "node", "instance": ["host1:9100", "host2:9100", "host3:9100"]}
PODS = [("shop", "cart-7f9c-a1"), ("shop", "cart-7f9c-b2"), ("shop", "web-55d-c3"), ("infra", "dns-1")]


def families():
    """Names with their kind, range and labels; a list of labels' dictionaries is taken as it is."""

    def product(labels):
        made = [{}]
        for name, values in labels.items():
            values = values if isinstance(values, list) else [values]
            made = [{**one, name: value} for one in made for value in values]
        return made

    def add(kind, names, most, each=None, **labels):
        for name in names.split():
            for own in each or [{}]:
                for one in product(labels):
                    yield kind, name, most, {**own, **one}

    host = {**HOSTS}
    yield from add("counter", "node_cpu_seconds_total", 1, cpu=["0", "1", "2"], mode=MODES, **host)
    yield from add("gauge", "node_load1 node_load5 node_load15", 4, **host)
    yield from add("steady", "node_memory_MemTotal_bytes", 1 << 34, **host)
    yield from add(
        "gauge",
        "node_memory_MemAvailable_bytes node_memory_MemFree_bytes node_memory_Cached_bytes"
        " node_memory_Buffers_bytes node_memory_SReclaimable_bytes node_memory_SwapFree_bytes",
        1 << 32,
        **host,
    )
    yield from add("steady", "node_memory_SwapTotal_bytes", 1 << 32, **host)
    disks = [
        {"device": "/dev/sda1", "mountpoint": "/", "fstype": "ext4"},
        {"device": "/dev/sdb1", "mountpoint": "/data", "fstype": "xfs"},
        {"device": "tmpfs", "mountpoint": "/run", "fstype": "tmpfs"},
    ]
    yield from add("steady", "node_filesystem_size_bytes node_filesystem_files", 1 << 38, disks, **host)
    yield from add(
        "walk",
        "node_filesystem_avail_bytes node_filesystem_free_bytes node_filesystem_files_free",
        1 << 36,
        disks,
        **host,
    )
    yield from add("zero", "node_filesystem_readonly", 0, disks, **host)
    nets = [{"device": device} for device in ["lo", "eth0", "veth1a"]]
    yield from add(
        "counter",
        "node_network_receive_bytes_total node_network_transmit_bytes_total"
        " node_network_receive_errs_total node_network_transmit_errs_total",
        90_000,
        nets,
        **host,
    )
    yield from add("flag", "node_network_up", 1, nets, **host)
    yield from add("one", "node_network_info", 1, [{**net, "operstate": "up"} for net in nets], **host)
    yield from add("steady", "node_network_speed_bytes", 125_000_000, nets, **host)
    yield from add(
        "counter",
        "node_disk_io_time_seconds_total node_disk_read_time_seconds_total"
        " node_disk_reads_completed_total node_disk_read_bytes_total",
        9,
        device=["sda", "nvme0n1", "dm-0"],
        **host,
    )
    yield from add(
        "counter",
        "node_vmstat_pgmajfault node_context_switches_total node_pressure_cpu_waiting_seconds_total"
        " node_pressure_memory_stalled_seconds_total",
        700,
        **host,
    )
    yield from add("steady", "node_boot_time_seconds", END_S - 700_000, **host)
    yield from add("now", "node_time_seconds", 0, **host)
    for number, instance in enumerate(host["instance"]):
        named = {"job": "node", "instance": instance, "nodename": f"n{number}.example.org"}
        yield "one", "node_uname_info", 1, {**named, "release": "6.1", "sysname": "Linux"}
        version = {"job": "node", "instance": instance}
        yield "steady", "node_os_version", 12, version
    chips = [{"chip": "platform_coretemp_0"}, {"chip": "nvme_0"}]
    yield from add("gauge", "node_hwmon_temp_celsius", 80, chips, sensor=["temp1", "temp2"], **host)
    yield from add("one", "node_hwmon_chip_names", 1, [{**one, "chip_name": one["chip"][:4]} for one in chips], **host)
    yield from add("gauge", "node_filefd_allocated", 4000, **host)
    yield from add("steady", "node_filefd_maximum", 1 << 20, **host)
    yield from add("signed", "node_timex_offset_seconds", 0.2, **host)

    jobs = {
        "node": host["instance"],
        "prometheus": ["prom1:9090"],
        "blackbox": ["bb:9115"],
        "etcd": ["etcd1:2379", "etcd2:2379", "etcd3:2379"],
        "windows": ["win1:9182"],
    }
    for job, instances in jobs.items():
        yield from add("flag", "up", 1, job=job, instance=instances)
        yield from add("gauge", "scrape_duration_seconds", 1, job=job, instance=instances)
        yield from add("steady", "scrape_samples_scraped", 900, job=job, instance=instances)

    # kubernetes
    for number, (namespace, pod) in enumerate(PODS):
        named = {"namespace": namespace, "pod": pod}
        node = {"node": f"node{number % 2}"}
        container = {**named, "container": pod.split("-")[0], "image": "i", **node}
        both = [container, {**named, "container": "POD", "image": "pause", **node}, {**named, "container": "", "image": "", **node}]
        yield from add("counter", "container_cpu_usage_seconds_total", 1, both)
        yield from add(
            "gauge", "container_memory_working_set_bytes container_memory_rss container_memory_cache", 1 << 28, both
        )
        yield from add("counter", "container_network_receive_bytes_total container_network_transmit_bytes_total", 9000, [named])
        yield from add("counter", "container_cpu_cfs_throttled_periods_total container_cpu_cfs_periods_total", 50, [container])
        yield "one", "kube_pod_info", 1, {**named, **node}
        for phase in ["Pending", "Running", "Failed"]:
            kind = "one" if phase == "Running" else "zero"
            yield kind, "kube_pod_status_phase", 1, {**named, "phase": phase}
        yield "steady", "kube_pod_start_time", END_S - 9000 + number * 1000, named
        small = {**named, "container": container["container"]}
        yield "counter", "kube_pod_container_status_restarts_total", 0.1, small
        yield "flag", "kube_pod_container_status_ready", 1, small
        yield "flag", "kube_pod_container_status_waiting_reason", 1, {**small, "reason": "CrashLoopBackOff"}
        for resource, most in [("cpu", 1), ("memory", 1 << 27)]:
            yield "steady", "kube_pod_container_resource_requests", most, {**small, "resource": resource, **node}
            if number:
                yield "steady", "kube_pod_container_resource_limits", most * 2, {**small, "resource": resource, **node}
    nodes = [{"node": "node0"}, {"node": "node1"}]
    yield from add("steady", "kube_node_status_allocatable", 8, nodes, resource=["cpu", "memory"])
    yield from add("flag", "kube_node_status_condition", 1, nodes, condition=["Ready", "DiskPressure"], status=["true", "false"])
    yield from add("one", "kube_node_info", 1, nodes, kernel="6.1")
    yield from add("one", "kube_node_labels", 1, nodes, label_cloud=["eu"])
    for namespace in ["shop", "infra"]:
        here = {"namespace": namespace}
        yield "one", "kube_namespace_labels", 1, {**here, "label_team": f"team-{namespace}"}
        for deployment in ["cart", "web"]:
            named = {**here, "deployment": deployment}
            yield "steady", "kube_deployment_spec_replicas", 3, named
            for name in ["available", "updated"]:
                yield "count", f"kube_deployment_status_replicas_{name}", 4, named
        yield "steady", "kube_hpa_spec_max_replicas", 3, {**here, "hpa": "cart"}
        yield "count", "kube_hpa_status_current_replicas", 4, {**here, "hpa": "cart"}
        job = {**here, "job_name": f"backup-{namespace}"}
        yield "flag", "kube_job_status_failed", 1, job
        yield "flag", "kube_job_status_succeeded", 1, job
        yield "steady", "kube_job_status_completion_time", END_S - 5000, job
        claim = {**here, "persistentvolumeclaim": "data", "node": "node0", "instance": "k1:10250"}
        yield "steady", "kubelet_volume_stats_capacity_bytes", 1 << 35, claim
        yield "walk", "kubelet_volume_stats_available_bytes", 1 << 33, claim
        yield "gauge", "kubelet_volume_stats_used_bytes", 1 << 33, claim
    for verb in ["GET", "POST", "WATCH"]:
        here = {"verb": verb, "instance": "api:6443", "job": "apiserver"}
        for code in ["200", "201", "404", "500"]:
            yield "counter", "apiserver_request_total", 30, {**here, "code": code}
        yield "histogram", "apiserver_request_duration_seconds", 20, here

    # postgres
    pg = {"job": "postgres", "instance": ["pg1:9187", "pg2:9187"]}
    bases = [{"datname": name} for name in ["app", "stats", "template1"]]
    yield from add("one", "pg_up", 1, **pg)
    yield from add("count", "pg_stat_database_numbackends", 30, bases, **pg)
    yield from add("count", "pg_stat_activity_count", 30, bases, state=["active", "idle"], **pg)
    yield from add("steady", "pg_settings_max_connections", 200, **pg)
    yield from add("steady", "pg_settings_work_mem_bytes", 1 << 22, **pg)
    yield from add(
        "counter",
        "pg_stat_database_xact_commit pg_stat_database_xact_rollback pg_stat_database_blks_hit"
        " pg_stat_database_blks_read pg_stat_database_tup_fetched pg_stat_database_tup_inserted"
        " pg_stat_database_deadlocks pg_stat_database_conflicts",
        400,
        bases,
        **pg,
    )
    yield from add("walk", "pg_database_size_bytes", 1 << 32, bases, **pg)
    yield from add("count", "pg_locks_count", 9, bases, mode=["accesssharelock", "exclusivelock"], **pg)
    yield from add("gauge", "pg_replication_lag_seconds", 5, **pg)
    yield from add("flag", "pg_replication_is_replica", 1, **pg)
    yield from add("gauge", "pg_stat_activity_max_tx_duration", 60, bases, state=["active", "idle"], **pg)
    yield from add("counter", "pg_stat_bgwriter_buffers_backend_total pg_stat_bgwriter_buffers_alloc_total", 50, **pg)
    yield from add("steady", "pg_postmaster_start_time_seconds", END_S - 50_000, **pg)

    # redis
    redis = {"job": "redis", "instance": ["redis1:9121", "redis2:9121"]}
    yield from add("gauge", "redis_memory_used_bytes", 1 << 27, **redis)
    yield "steady", "redis_memory_max_bytes", 1 << 28, {"job": "redis", "instance": "redis1:9121"}
    yield "zero", "redis_memory_max_bytes", 0, {"job": "redis", "instance": "redis2:9121"}
    yield from add(
        "counter",
        "redis_keyspace_hits_total redis_keyspace_misses_total redis_expired_keys_total redis_evicted_keys_total",
        80,
        **redis,
    )
    yield from add(
        "counter", "redis_commands_total redis_commands_duration_seconds_total", 90, cmd=["get", "set", "hgetall"], **redis
    )
    yield from add("count", "redis_db_keys redis_db_keys_expiring", 900, db=["db0", "db1"], **redis)
    yield from add("count", "redis_connected_clients redis_connected_slaves", 9, **redis)
    yield from add("now", "redis_uptime_in_seconds", 0, **redis)
    yield from add("flag", "redis_master_link_up", 1, **redis)
    yield from add("gauge", "redis_memory_fragmentation_ratio", 2, **redis)
    for instance, role in zip(redis["instance"], ["master", "slave"]):
        yield "one", "redis_instance_info", 1, {"job": "redis", "instance": instance, "role": role}

    # in front
    nginx = {"job": "nginx", "instance": ["ng1:9113", "ng2:9113"]}
    yield from add("counter", "nginx_http_requests_total nginx_connections_accepted nginx_connections_handled", 90, **nginx)
    yield from add(
        "count",
        "nginx_connections_active nginx_connections_waiting nginx_connections_reading nginx_connections_writing",
        90,
        **nginx,
    )
    yield from add("one", "nginx_up", 1, **nginx)
    for ingress in ["shop", "blog"]:
        yield "histogram", "nginx_ingress_controller_request_duration_seconds", 9, {"ingress": ingress}
        yield from add("counter", "nginx_ingress_controller_requests", 9, ingress=ingress, status=["200", "302", "404", "503"])
    proxies = [{"proxy": name} for name in ["www", "api"]]
    yield from add("counter", "haproxy_frontend_http_responses_total", 20, proxies, code=["2xx", "4xx", "5xx"])
    yield from add("counter", "haproxy_backend_bytes_in_total haproxy_backend_bytes_out_total", 8000, proxies)
    yield from add("flag", "haproxy_server_status", 1, proxies, server=["s1", "s2", "s3"])
    yield from add("count", "haproxy_backend_current_queue haproxy_backend_current_sessions", 50, proxies)
    yield from add("steady", "haproxy_backend_limit_sessions", 200, proxies)
    services = [{"service": name, "code": code} for name in ["api@docker", "www@docker"] for code in ["200", "404"]]
    yield from add("counter", "traefik_service_requests_total", 30, services)
    for one in services:
        yield "histogram", "traefik_service_request_duration_seconds", 15, one
    entries = [{"entrypoint": name, "method": method} for name in ["web", "websecure"] for method in ["GET", "POST"]]
    yield from add("counter", "traefik_entrypoint_requests_total", 30, entries)
    yield from add("count", "traefik_open_connections", 30, entries)
    yield from add("counter", "traefik_config_reloads_total", 0.1, job="traefik")

    # jvm
    shop = {"job": "shop", "application": "shop", "instance": "shop1:8080"}
    for area, identity in [("heap", "G1 Eden Space"), ("heap", "G1 Old Gen"), ("nonheap", "Metaspace")]:
        pool = {**shop, "area": area, "id": identity}
        yield "gauge", "jvm_memory_used_bytes", 1 << 28, pool
        yield ("zero" if "Eden" in identity else "steady"), "jvm_memory_max_bytes", 1 << 29, pool
    causes = [{"action": "end of minor GC", "cause": "G1 Evacuation Pause"}, {"action": "end of major GC", "cause": "Ergonomics"}]
    yield from add("counter", "jvm_gc_pause_seconds_sum jvm_gc_pause_seconds_count", 2, causes, **shop)
    yield from add("gauge", "jvm_gc_pause_seconds_max", 1, causes, **shop)
    yield from add("count", "jvm_threads_states_threads", 40, state=["runnable", "blocked", "waiting"], **shop)
    yield from add("gauge", "process_cpu_usage system_cpu_usage", 1, **shop)
    yield from add("count", "process_files_open_files", 300, **shop)
    yield from add("steady", "process_files_max_files", 65536, **shop)
    for uri in ["/cart", "/pay/{id}", "/actuator/health"]:
        for method, status in [("GET", "200"), ("GET", "500"), ("POST", "201")]:
            asked = {**shop, "uri": uri, "method": method, "status": status}
            yield "histogram", "http_server_requests_seconds", 12, asked
            yield "gauge", "http_server_requests_seconds_max", 2, asked
    yield from add("count", "hikaricp_connections_active", 10, pool="main", **shop)
    yield from add("steady", "hikaricp_connections_max", 10, pool="main", **shop)
    yield from add("counter", "hikaricp_connections_usage_seconds_sum hikaricp_connections_usage_seconds_count", 5, pool="main", **shop)
    yield from add("counter", "logback_events_total", 3, level=["info", "warn", "error"], **shop)
    yield from add("gauge", "jvm_buffer_memory_used_bytes", 1 << 20, id=["direct", "mapped"], **shop)
    yield from add("counter", "jvm_classes_unloaded_classes_total", 1, **shop)
    yield from add("count", "jvm_classes_loaded_classes", 9000, **shop)

    # programs in Go
    for job, instance in [("prometheus", "prom1:9090"), ("traefik", "tr1:8082")]:
        here = {"job": job, "instance": instance}
        yield "one", "go_info", 1, {**here, "version": "go1.2" + str(len(job))}
        for name, most in [("go_goroutines", 90), ("go_threads", 20), ("process_open_fds", 90)]:
            yield "count", name, most, here
        yield from add("gauge", "go_gc_duration_seconds", 0.01, [here], quantile=["0", "0.75", "1"])
        yield from add(
            "counter",
            "go_gc_duration_seconds_sum go_gc_duration_seconds_count go_memstats_alloc_bytes_total process_cpu_seconds_total",
            3,
            [here],
        )
        yield from add("gauge", "go_memstats_heap_inuse_bytes process_resident_memory_bytes", 1 << 27, [here])
        yield from add("steady", "go_memstats_heap_sys_bytes", 1 << 28, [here])
        yield from add("steady", "process_max_fds", 1024, [here])
        yield from add("steady", "process_start_time_seconds", END_S - 9999, [here])
    yield from add("steady", "process_start_time_seconds", END_S - 8888, [shop])
    prom = {"job": "prometheus", "instance": "prom1:9090"}
    yield "counter", "prometheus_tsdb_head_samples_appended_total", 4000, prom
    yield "count", "prometheus_tsdb_head_series", 4000, prom
    for handler in ["/api/v1/query", "/metrics"]:
        yield "histogram", "prometheus_http_request_duration_seconds", 7, {**prom, "handler": handler}
        yield from add("counter", "prometheus_http_requests_total", 7, [prom], handler=handler, code=["200", "400"])
    yield from add(
        "gauge", "prometheus_engine_query_duration_seconds", 1, [prom], quantile=["0.5", "0.9"], slice=["inner_eval", "queue_time"]
    )
    yield from add("gauge", "prometheus_target_interval_length_seconds", 15, [prom], quantile=["0.5", "0.99"], interval="15s")
    for alert, severity in [("Down", "critical"), ("Full", "warning"), ("Slow", "warning")]:
        yield "one", "ALERTS", 1, {"alertname": alert, "severity": severity, "alertstate": "firing"}

    # blackbox
    probes = [{"job": "blackbox", "instance": name} for name in ["https://a.example", "https://b.example", "tcp:22"]]
    yield from add("flag", "probe_success", 1, probes)
    yield from add("gauge", "probe_duration_seconds probe_dns_lookup_time_seconds", 2, probes)
    yield from add("gauge", "probe_http_duration_seconds", 1, probes, phase=["connect", "tls", "processing", "transfer"])
    for one, status in zip(probes, [200, 503, 0]):
        yield "steady", "probe_http_status_code", status, one
        yield "steady", "probe_ssl_earliest_cert_expiry", END_S + 86400 * (status // 40 + 1), one
        yield "steady", "probe_http_version", 2, one

    # windows
    win = {"job": "windows", "instance": "win1:9182"}
    yield from add("counter", "windows_cpu_time_total", 1, [win], core=["0,0", "0,1"], mode=["idle", "user", "privileged"])
    yield "gauge", "windows_os_physical_memory_free_bytes", 1 << 33, win
    yield "steady", "windows_cs_physical_memory_bytes", 1 << 34, win
    yield from add("walk", "windows_logical_disk_free_bytes", 1 << 36, [win], volume=["C:", "D:", "HarddiskVolume1"])
    yield from add("steady", "windows_logical_disk_size_bytes", 1 << 38, [win], volume=["C:", "D:", "HarddiskVolume1"])
    yield from add("counter", "windows_net_bytes_received_total", 9000, [win], nic=["Ethernet", "isatap.x"])
    for service, mode in [("dns", "auto"), ("print", "auto"), ("fax", "manual")]:
        for state in ["running", "stopped"]:
            yield "flag", "windows_service_state", 1, {**win, "name": service, "state": state}
        yield "one", "windows_service_start_mode", 1, {**win, "name": service, "start_mode": mode}
    yield "steady", "windows_system_system_up_time", END_S - 77777, win

    # mysql
    mysql = {"job": "mysql", "instance": ["db1:9104", "host1:9100"]}
    yield from add(
        "counter",
        "mysql_global_status_uptime mysql_global_status_queries mysql_global_status_slow_queries"
        " mysql_global_status_innodb_buffer_pool_reads mysql_global_status_innodb_buffer_pool_read_requests"
        " mysql_global_status_created_tmp_disk_tables mysql_global_status_created_tmp_tables",
        60,
        **mysql,
    )
    yield from add("counter", "mysql_global_status_commands_total", 9, command=["select", "insert", "begin"], **mysql)
    yield from add("counter", "mysql_global_status_handlers_total", 9, handler=["commit", "read_first", "write"], **mysql)
    yield from add("steady", "mysql_global_variables_innodb_buffer_pool_size", 1 << 30, **mysql)
    yield from add("steady", "mysql_global_variables_max_connections", 151, **mysql)
    yield from add("steady", "mysql_global_status_innodb_page_size", 16384, job="mysql", instance="db1:9104")
    yield from add("count", "mysql_global_status_buffer_pool_pages", 900, state=["data", "free"], **mysql)
    yield from add("count", "mysql_global_status_threads_connected", 60, **mysql)
    yield from add("gauge", "mysql_slave_status_seconds_behind_master", 60, **mysql)
    yield from add("zero", "mysql_slave_status_sql_delay", 0, **mysql)
    yield from add("flag", "mysql_slave_status_slave_io_running mysql_slave_status_slave_sql_running", 1, **mysql)
    yield from add("counter", "mysql_info_schema_table_rows", 9, schema="app", table=["users", "orders"], **mysql)
    yield from add("one", "mysql_version_info", 1, version="8.0.36-debian", **mysql)

    # kafka
    yield from add("count", "kafka_server_replicamanager_leadercount", 30, instance=["k1:9308", "k2:9308"])
    for topic in ["orders", "clicks", "__offsets"]:
        for partition in ["0", "1"]:
            here = {"topic": topic, "partition": partition, "instance": "k1:9308"}
            yield "counter", "kafka_topic_partition_current_offset", 200, here
            yield "counter", "kafka_topic_partition_oldest_offset", 20, here
            yield "steady", "kafka_topic_partition_replicas", 3, here
            yield "count", "kafka_topic_partition_in_sync_replica", 4, here
            yield "count", "kafka_topic_partition_leader", 3, here
            yield "flag", "kafka_topic_partition_under_replicated_partition", 1, here
            yield "counter", "kafka_server_brokertopicmetrics_bytesin_total", 200, here
            for group in ["billing", "search"]:
                named = {**here, "consumergroup": group}
                yield "counter", "kafka_consumergroup_current_offset", 180, named
                yield "count", "kafka_consumergroup_lag", 400, named

    # etcd
    etcd = {"job": "etcd", "instance": ["etcd1:2379", "etcd2:2379", "etcd3:2379"]}
    yield from add("one", "etcd_server_has_leader", 1, **etcd)
    yield from add("flag", "etcd_server_is_leader", 1, **etcd)
    yield from add("counter", "etcd_server_leader_changes_seen_total etcd_server_proposals_failed_total", 0.2, **etcd)
    yield from add("counter", "etcd_server_proposals_committed_total etcd_server_proposals_applied_total", 30, **etcd)
    yield from add("walk", "etcd_mvcc_db_total_size_in_bytes", 1 << 30, **etcd)
    yield from add("steady", "etcd_server_quota_backend_bytes", 1 << 31, **etcd)
    for name in ["etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds"]:
        yield from add("histogram", name, 9, **etcd)
    yield from add("counter", "grpc_server_started_total", 30, grpc_type=["unary", "bidi_stream"], **etcd)
    yield from add(
        "counter", "grpc_server_handled_total", 30, grpc_type=["unary", "bidi_stream"], grpc_code=["OK", "Unknown", "Unavailable"], **etcd
    )

    # rabbitmq
    for number, instance in enumerate(["r1:15692", "r2:15692"]):
        here = {"instance": instance}
        named = {"rabbitmq_cluster": "rabbit", "rabbitmq_node": f"rabbit@{number}"}
        yield "one", "rabbitmq_identity_info", 1, {**here, **named}
        yield "one", "rabbitmq_build_info", 1, {**here, "rabbitmq_version": "3.12"}
        yield from add("count", "rabbitmq_queue_messages_ready rabbitmq_queue_messages_unacked", 90, [here], queue=["orders", "mail"])
        yield from add("counter", "rabbitmq_channel_messages_published_total", 90, [here], channel=["1", "2"])
        yield "count", "rabbitmq_connections", 60, here
        yield "steady", "rabbitmq_resident_memory_limit_bytes", 1 << 32, here
        yield "gauge", "rabbitmq_process_resident_memory_bytes", 1 << 30, here
        yield "gauge", "rabbitmq_disk_space_available_bytes", 1 << 36, here
        yield "steady", "rabbitmq_disk_space_available_limit_bytes", 50_000_000, here


def series(chance):
    """All of them with their samples; targets are scraped at times of their own, as they are."""
    phases = {}
    made = []

    def times(labels):
        target = labels.get("instance") or labels.get("pod") or labels.get("node") or labels.get("job") or ""
        if target not in phases:
            phases[target] = (chance.randrange(EVERY_S), chance.choice([150, 250, 350]))
        late_s, late_ms = phases[target]
        first = END_S - LENGTH_S + late_s
        return [at * 1000 + late_ms for at in range(first, END_S, EVERY_S)]

    def put(name, labels, values):
        at = times(labels)
        labels = {label: value for label, value in labels.items() if value}
        made.append(({"__name__": name, **labels}, list(zip(at, values(len(at))))))

    def counter(most):
        def values(count):
            value, all_values = most * chance.randrange(500, 1000), []
            for _ in range(count):
                value = 0.0 if chance.random() < 0.002 else value + most * chance.randrange(0, FINE) / FINE
                all_values.append(value)
            return all_values

        return values

    kinds = {
        "counter": lambda most: counter(most),
        "gauge": lambda most: lambda count: [most * chance.randrange(1, FINE) / FINE for _ in range(count)],
        "signed": lambda most: lambda count: [most * chance.randrange(-64, 64) / 64 for _ in range(count)],
        "count": lambda most: lambda count: [float(chance.randrange(0, int(most) + 1)) for _ in range(count)],
        "flag": lambda most: lambda count: [float(chance.random() > 0.1) for _ in range(count)],
        "steady": lambda most: lambda count: [float(most)] * count,
        "one": lambda most: lambda count: [1.0] * count,
        "zero": lambda most: lambda count: [0.0] * count,
        "now": lambda most: lambda count: [END_S - (count - number) * EVERY_S + 0.5 for number in range(count)],
    }

    def walk(most):
        def values(count):
            value, step = most * chance.randrange(20, 60) / 64, most * chance.randrange(-8, 3) / 65536
            return [value + step * number + most * chance.randrange(-FINE, FINE) / FINE / 2048 for number in range(count)]

        return values

    for kind, name, most, labels in families():
        if kind == "histogram":
            at = times(labels)
            rows = [[] for _ in DURATIONS]
            total = [0.0] * len(DURATIONS)
            for _ in at:
                more = 0.0
                for number in range(len(DURATIONS)):
                    more += chance.randrange(0, int(most) + 1)
                    total[number] += more
                    rows[number].append(total[number])
            for le, values in zip(DURATIONS, rows):
                put(f"{name}_bucket", {**labels, "le": le}, lambda _, values=values: values)
            put(f"{name}_count", labels, lambda _: rows[-1])
            put(f"{name}_sum", labels, lambda _: [value / 8 for value in rows[-1]])
            continue
        put(name, labels, walk(most) if kind == "walk" else kinds[kind](most))
    return made


def is_same(theirs, ours, step):
    theirs, ours = float(theirs), float(ours)
    if theirs == ours or math.isnan(theirs) and math.isnan(ours):
        return True
    return abs(theirs - ours) <= max(step, NEAR * max(abs(theirs), abs(ours), 1e-6))


def rows(answer, is_ordered):
    """Series of an answer with their points; in the order of their labels where none was asked for."""
    data = answer["data"]
    if data["resultType"] in ("scalar", "string"):
        return data["resultType"], [("", [data["result"]])]
    found = [
        (json.dumps(one["metric"], sort_keys=True), one.get("values") or [one["value"]])
        for one in data["result"]
    ]
    return data["resultType"], found if is_ordered else sorted(found, key=lambda one: one[0])


def difference(theirs, ours, is_ordered, step):
    """What differs first by more than a step; nothing where all is the same."""
    if theirs["status"] != ours["status"]:
        return f"theirs {theirs.get('error') or 'succeeds'}, ours {ours.get('error') or 'succeeds'}"
    if theirs["status"] == "error":
        if theirs["errorType"] != ours["errorType"]:
            return f"theirs {theirs['errorType']}, ours {ours['errorType']}"
        return None
    (kind, theirs), (our_kind, ours) = rows(theirs, is_ordered), rows(ours, is_ordered)
    if kind != our_kind:
        return f"theirs a {kind}, ours a {our_kind}"
    named = [[name for name, _ in one] for one in (theirs, ours)]
    if named[0] != named[1]:
        lacking = [[name for name in one if name not in other] for one, other in (named, named[::-1])]
        return f"{len(theirs)} and {len(ours)} series; only theirs {lacking[0][:2]}, only ours {lacking[1][:2]}"
    for (name, points), (_, our_points) in zip(theirs, ours):
        for (at, value), (our_at, our_value) in zip(points, our_points):
            if at != our_at or not is_same(value, our_value, step):
                return f"{name}: theirs {value} at {at}, ours {our_value} at {our_at}"
        if len(points) != len(our_points):
            return f"{name}: {len(points)} and {len(our_points)} points"
    return None


def stretches(samples):
    """Half an hour of all series at a time: Prometheus takes nothing an hour older than its newest."""
    for begun in range((END_S - LENGTH_S) * 1000, END_S * 1000, 1_800_000):
        until = begun + 1_800_000
        yield [
            (labels, [point for point in points if begun <= point[0] < until])
            for labels, points in samples
        ]


def questions():
    end = END_S - 30 + 0.5
    yield "/api/v1/query", {"time": end}
    yield "/api/v1/query", {"time": end - 1000.2}
    yield "/api/v1/query_range", {"start": end - 3600.2, "end": end, "step": 15}
    yield "/api/v1/query_range", {"start": end - 1800, "end": end, "step": 60}


def expressions():
    text = api.text(os.path.join(os.path.dirname(os.path.abspath(__file__)), "dashboards.txt"))
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def main():
    print(f"PULSEBOARD_SEED={SEED}", flush=True)
    data, others = series(random.Random(SEED)), series(random.Random(SEED + 1))
    flags = ("--web.enable-remote-write-receiver",)
    asked, empty, wrong = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        # A subquery without a step looks every minute.
        config = {"global": {"evaluation_interval": "1m"}}
        with (
            api.prometheus(f"{folder}/one", config, *flags) as one,
            api.prometheus(f"{folder}/two", config, *flags) as two,
            api.pulseboard(SERVER, f"{folder}/ours") as ours,
        ):
            for theirs, tenant, samples in [(one, "one", data), (two, "two", others)]:
                for part in stretches(samples):
                    theirs.write(part)
                    ours.write(part, {"X-Scope-OrgID": tenant})
            for text in expressions():
                found = False
                for number, (path, times) in enumerate(questions()):
                    # The other tenant is asked one of them.
                    for theirs, tenant in [(one, "one"), (two, "two")][: 2 if number == 0 else 1]:
                        form = {"query": text, **times}
                        their_answer = json.loads(theirs.ask(path, form=form)[2])
                        our_answer = json.loads(ours.ask(path, form=form, headers={"X-Scope-OrgID": tenant})[2])
                        is_ordered = path.endswith("query") and text.startswith(("sort", "topk(", "bottomk("))
                        asked += 1
                        found |= bool(their_answer.get("data", {}).get("result"))
                        # A sum that is to be rounded may fall to either side.
                        step = 0.001000001 if text.startswith("round(sum(") else 0
                        differs = difference(their_answer, our_answer, is_ordered, step)
                        if differs:
                            wrong.append(f"{text}\n    {path} {times} of {tenant}: {differs}")
                if not found:
                    empty += 1
                    if os.environ.get("SAY_EMPTY"):
                        print("empty:", text)
    said = f"{len(expressions())} expressions of dashboards, {empty} of them without series"
    return wrong, f"{asked} questions ({said}; PULSEBOARD_SEED={SEED})"


api.compared("dashboards", main)
