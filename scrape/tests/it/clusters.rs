//! Discovery that asks an API: Kubernetes, Docker, Consul; each a few answers on loopback.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use pulseboard_scrape::LabelSet;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::exporter::{Scraped, start};

/// Answers JSON by path; a watch gets the events that are sent while it is open.
#[derive(Clone)]
struct Api {
    address: String,
    answers: Arc<Mutex<HashMap<String, Value>>>,
    event: watch::Sender<(String, String)>,
}

impl Api {
    async fn start(answers: &[(&str, Value)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let answers = answers
            .iter()
            .map(|(path, value)| ((*path).to_owned(), value.clone()));
        let api = Self {
            address: listener.local_addr().expect("an address").to_string(),
            answers: Arc::new(Mutex::new(answers.collect())),
            event: watch::Sender::new(Default::default()),
        };
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        api
    }

    fn answer(&self, path: &str, value: Value) {
        self.answers.lock().insert(path.to_owned(), value);
    }

    /// Tells the watches of a path, once all are there: a real server would tell a late one what it
    /// missed.
    async fn tell(&self, path: &str, kind: &str, object: &Value) {
        let watched = self.answers.lock().len();
        let waiting = async {
            while self.event.receiver_count() < watched {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let limit = std::time::Duration::from_secs(30);
        tokio::time::timeout(limit, waiting).await.expect("watches");
        let line = json!({"type": kind, "object": object}).to_string();
        self.event.send_replace((path.to_owned(), line));
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            request.extend_from_slice(&piece[..read]);
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            request.clear();
            let address = text.split(' ').nth(1).unwrap_or_default();
            let (path, query) = address.split_once('?').unwrap_or((address, ""));
            if query.contains("watch=1") {
                return self.watch(path, stream).await;
            }
            let body = self.answers.lock().get(path).map(Value::to_string);
            let status = if body.is_some() {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let body = body.unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn watch(self, path: &str, mut stream: TcpStream) {
        let mut events = self.event.subscribe();
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        loop {
            if stream.write_all(&bytes).await.is_err() || events.changed().await.is_err() {
                return;
            }
            let (of, line) = events.borrow_and_update().clone();
            bytes = if of == path {
                format!("{:x}\r\n{line}\n\r\n", line.len() + 1).into_bytes()
            } else {
                Vec::new()
            };
        }
    }
}

/// A file with one section of discovery.
fn file(section: &str) -> String {
    format!(
        "scrape_configs:\n  - job_name: found\n    scrape_interval: 1m\n    {section}\n    relabel_configs: [{{source_labels: [__meta_kubernetes_ingress_path], regex: (.+), target_label: __metrics_path__}}]\n"
    )
}

/// A file that finds objects of one role.
fn kubernetes(api: &Api, role: &str) -> String {
    let server = &api.address;
    file(&format!(
        "kubernetes_sd_configs: [{{role: {role}, api_server: 'http://{server}'}}]"
    ))
}

/// The target at an address.
fn at<'a>(labels: &'a [LabelSet], address: &str) -> &'a LabelSet {
    let found = labels.iter().find(|one| one.get("__address__") == address);
    found.unwrap_or_else(|| panic!("{address} is not in {labels:#?}"))
}

/// Waits for so many targets and returns their labels before relabelling.
async fn found(scraped: &Scraped, count: usize) -> Vec<LabelSet> {
    let looking = async {
        loop {
            let active = scraped.manager.snapshot(None).active;
            if active.len() == count {
                return active
                    .iter()
                    .map(|target| target.endpoint.discovered.clone())
                    .collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, looking)
        .await
        .unwrap_or_else(|_| panic!("{:#?}", scraped.manager.snapshot(None)))
}

fn assert_labels(labels: &LabelSet, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(labels.get(name), *value, "{name} in {labels:#?}");
    }
}

fn items(items: &[&Value]) -> Value {
    json!({"metadata": {"resourceVersion": "7"}, "items": items})
}

fn pod() -> Value {
    json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u1", "resourceVersion": "5",
            "labels": {"app.kubernetes.io/name": "web"},
            "annotations": {"prometheus.io/scrape": "true"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true}],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "app", "image": "web:1", "ports": [
                    {"name": "metrics", "containerPort": 9100}, {"name": "http", "containerPort": 80, "protocol": "TCP"},
                ]},
                {"name": "side", "image": "side:1"},
            ],
        },
        "status": {
            "podIP": "10.0.0.7", "hostIP": "10.1.0.1", "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "app", "containerID": "containerd://1"}],
        },
    })
}

fn service() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop", "labels": {"tier": "front"}},
        "spec": {"type": "ClusterIP", "clusterIP": "10.2.0.1", "ports": [{"name": "http", "port": 80}]},
    })
}

#[tokio::test]
async fn pods_are_listed_and_watched() {
    const PODS: &str = "/api/v1/namespaces/shop/pods";
    let api = Api::start(&[(PODS, items(&[&pod()]))]).await;
    let scraped = start();
    scraped.apply(&file(&format!(
        "kubernetes_sd_configs: [{{role: pod, api_server: 'http://{}', namespaces: {{names: [shop]}}}}]",
        api.address
    )));
    let labels = found(&scraped, 3).await;
    let metrics = at(&labels, "10.0.0.7:9100");
    assert_labels(
        metrics,
        &[
            ("__meta_kubernetes_namespace", "shop"),
            ("__meta_kubernetes_pod_name", "web-1"),
            ("__meta_kubernetes_pod_ip", "10.0.0.7"),
            ("__meta_kubernetes_pod_label_app_kubernetes_io_name", "web"),
            (
                "__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name",
                "true",
            ),
            (
                "__meta_kubernetes_pod_annotation_prometheus_io_scrape",
                "true",
            ),
            ("__meta_kubernetes_pod_container_name", "app"),
            ("__meta_kubernetes_pod_container_id", "containerd://1"),
            ("__meta_kubernetes_pod_container_image", "web:1"),
            ("__meta_kubernetes_pod_container_init", "false"),
            ("__meta_kubernetes_pod_container_port_name", "metrics"),
            ("__meta_kubernetes_pod_container_port_number", "9100"),
            ("__meta_kubernetes_pod_container_port_protocol", "TCP"),
            ("__meta_kubernetes_pod_ready", "true"),
            ("__meta_kubernetes_pod_phase", "Running"),
            ("__meta_kubernetes_pod_node_name", "n1"),
            ("__meta_kubernetes_pod_host_ip", "10.1.0.1"),
            ("__meta_kubernetes_pod_uid", "u1"),
            ("__meta_kubernetes_pod_controller_kind", "ReplicaSet"),
            ("__meta_kubernetes_pod_controller_name", "web"),
        ],
    );
    // a container without ports is its pod's address
    at(&labels, "10.0.0.7");
    let mut second = pod();
    second["metadata"]["name"] = json!("web-2");
    second["status"]["podIP"] = json!("10.0.0.8");
    api.tell(PODS, "ADDED", &second).await;
    found(&scraped, 6).await;
    api.tell(PODS, "DELETED", &pod()).await;
    found(&scraped, 3).await;
}

#[tokio::test]
async fn endpoints_know_their_service_and_their_pods() {
    let endpoints = json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "subsets": [{
            "addresses": [{"ip": "10.0.0.7", "nodeName": "n1", "targetRef": {"kind": "Pod", "name": "web-1"}}],
            "notReadyAddresses": [{"ip": "10.0.0.9"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "metadata": {"name": "web-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "web-1"}}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    });
    let api = Api::start(&[
        ("/api/v1/endpoints", items(&[&endpoints])),
        ("/apis/discovery.k8s.io/v1/endpointslices", items(&[&slice])),
        ("/api/v1/services", items(&[&service()])),
        ("/api/v1/pods", items(&[&pod()])),
    ])
    .await;
    let scraped = start();
    let section = |role: &str| kubernetes(&api, role);
    scraped.apply(&section("endpoints"));
    // two addresses, and the pod's further port
    let labels = found(&scraped, 3).await;
    let ready = at(&labels, "10.0.0.7:80");
    assert_labels(
        ready,
        &[
            ("__meta_kubernetes_namespace", "shop"),
            ("__meta_kubernetes_endpoints_name", "web"),
            ("__meta_kubernetes_endpoint_ready", "true"),
            ("__meta_kubernetes_endpoint_port_name", "http"),
            ("__meta_kubernetes_endpoint_node_name", "n1"),
            ("__meta_kubernetes_endpoint_address_target_kind", "Pod"),
            ("__meta_kubernetes_service_name", "web"),
            ("__meta_kubernetes_service_label_tier", "front"),
            ("__meta_kubernetes_pod_name", "web-1"),
            ("__meta_kubernetes_pod_container_port_name", "http"),
        ],
    );
    let other = at(&labels, "10.0.0.9:80");
    assert_labels(
        other,
        &[
            ("__meta_kubernetes_endpoint_ready", "false"),
            ("__meta_kubernetes_pod_name", ""),
        ],
    );
    at(&labels, "10.0.0.7:9100");
    scraped.apply(&section("endpointslice"));
    let labels = found(&scraped, 2).await;
    let ready = at(&labels, "10.0.0.7:80");
    assert_labels(
        ready,
        &[
            ("__meta_kubernetes_endpointslice_name", "web-x"),
            (
                "__meta_kubernetes_endpointslice_endpoint_conditions_ready",
                "true",
            ),
            ("__meta_kubernetes_endpointslice_port_name", "http"),
            ("__meta_kubernetes_endpointslice_address_type", "IPv4"),
            ("__meta_kubernetes_service_name", "web"),
            ("__meta_kubernetes_pod_name", "web-1"),
        ],
    );
}

#[tokio::test]
async fn nodes_services_and_ingresses() {
    let node = json!({
        "metadata": {"name": "n1", "labels": {"zone": "a"}},
        "spec": {"providerID": "x://1"},
        "status": {
            "addresses": [{"type": "Hostname", "address": "n1.local"}, {"type": "InternalIP", "address": "10.1.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    });
    let ingress = json!({
        "metadata": {"name": "i", "namespace": "shop"},
        "spec": {
            "ingressClassName": "nginx", "tls": [{"hosts": ["*.example.com"]}],
            "rules": [{"host": "a.example.com", "http": {"paths": [{"path": "/x"}, {"path": "/y"}]}}],
        },
    });
    let api = Api::start(&[
        ("/api/v1/nodes", items(&[&node])),
        ("/api/v1/services", items(&[&service()])),
        ("/apis/networking.k8s.io/v1/ingresses", items(&[&ingress])),
    ])
    .await;
    let scraped = start();
    let section = |role: &str| kubernetes(&api, role);
    scraped.apply(&section("ingress"));
    let labels = found(&scraped, 2).await;
    assert_labels(
        &labels[0],
        &[
            ("__address__", "a.example.com"),
            ("__meta_kubernetes_ingress_scheme", "https"),
            ("__meta_kubernetes_ingress_path", "/x"),
            ("__meta_kubernetes_ingress_class_name", "nginx"),
        ],
    );
    scraped.apply(&section("node"));
    let labels = found(&scraped, 1).await;
    assert_labels(
        &labels[0],
        &[
            ("__address__", "10.1.0.1:10250"),
            ("instance", "n1"),
            ("__meta_kubernetes_node_label_zone", "a"),
            ("__meta_kubernetes_node_address_Hostname", "n1.local"),
            ("__meta_kubernetes_node_provider_id", "x://1"),
        ],
    );
    scraped.apply("scrape_configs: []");
    scraped.apply(&section("service"));
    let labels = found(&scraped, 1).await;
    assert_labels(
        &labels[0],
        &[
            ("__address__", "web.shop.svc:80"),
            ("__meta_kubernetes_service_type", "ClusterIP"),
            ("__meta_kubernetes_service_cluster_ip", "10.2.0.1"),
            ("__meta_kubernetes_service_port_number", "80"),
        ],
    );
}

#[tokio::test]
async fn containers_of_docker() {
    let container = |id: &str, ip: &str, ports: Value| {
        json!({
            "Id": id, "Names": [format!("/{id}")], "Labels": {"com.x/y": "z"}, "Ports": ports,
            "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "net1", "IPAddress": ip}}},
        })
    };
    let ports = json!([
        {"PrivatePort": 80, "PublicPort": 8080, "IP": "0.0.0.0", "Type": "tcp"},
        {"PrivatePort": 53, "Type": "udp"},
    ]);
    let api = Api::start(&[
        (
            "/containers/json",
            json!([
                container("web", "172.17.0.2", ports),
                container("bare", "172.17.0.3", json!([]))
            ]),
        ),
        (
            "/networks",
            json!([{"Id": "net1", "Name": "bridge", "Scope": "local", "Ingress": false}]),
        ),
    ])
    .await;
    let scraped = start();
    scraped.apply(&file(&format!(
        "docker_sd_configs: [{{host: 'tcp://{}', refresh_interval: 1s}}]",
        api.address
    )));
    let labels = found(&scraped, 2).await;
    assert_labels(
        &labels[0],
        &[
            ("__address__", "172.17.0.2:80"),
            ("__meta_docker_container_name", "/web"),
            ("__meta_docker_container_label_com_x_y", "z"),
            ("__meta_docker_container_network_mode", "bridge"),
            ("__meta_docker_network_name", "bridge"),
            ("__meta_docker_network_ip", "172.17.0.2"),
            ("__meta_docker_network_ingress", "false"),
            ("__meta_docker_port_public", "8080"),
        ],
    );
    let bare = container("bare", "172.17.0.3", json!([]));
    api.answer("/containers/json", json!([bare]));
    found(&scraped, 1).await;
}

#[tokio::test]
async fn services_of_consul() {
    let instance = json!([{
        "Node": {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1", "Meta": {"rack": "r1"}, "TaggedAddresses": {"lan": "10.0.0.1"}},
        "Service": {"ID": "web-1", "Service": "web", "Tags": ["a", "b"], "Address": "", "Port": 8080, "Meta": {"v": "2"}},
        "Checks": [{"Status": "passing"}, {"Status": "warning"}],
    }]);
    let api = Api::start(&[
        ("/v1/catalog/services", json!({"web": ["a", "b"], "db": []})),
        ("/v1/health/service/web", instance),
    ])
    .await;
    let scraped = start();
    scraped.apply(&file(&format!(
        "consul_sd_configs: [{{server: '{}', tags: [a], refresh_interval: 1s}}]",
        api.address
    )));
    let labels = found(&scraped, 1).await;
    assert_labels(
        &labels[0],
        &[
            ("__address__", "10.0.0.1:8080"),
            ("__meta_consul_service", "web"),
            ("__meta_consul_service_id", "web-1"),
            ("__meta_consul_service_metadata_v", "2"),
            ("__meta_consul_metadata_rack", "r1"),
            ("__meta_consul_tagged_address_lan", "10.0.0.1"),
            ("__meta_consul_tags", ",a,b,"),
            ("__meta_consul_node", "n1"),
            ("__meta_consul_dc", "dc1"),
            ("__meta_consul_health", "warning"),
        ],
    );
}
