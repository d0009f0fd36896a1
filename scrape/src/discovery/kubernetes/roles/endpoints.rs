//! The roles `endpoints` and `endpointslice`: addresses of a service, with what is known of the
//! service and of the pods behind them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    discovery::{
        kubernetes::{
            api::{All, Kind},
            labels::{
                container_labels, described, host_port, pod_labels, protocol, service_labels, set,
            },
        },
        meta::{label_name, list, text},
    },
    labels::LabelSet,
    target::Group,
};

fn find<'a>(all: &'a All, kind: Kind, namespace: &str, name: &str) -> Option<&'a Value> {
    all.get(&kind)?.get(&format!("{namespace}/{name}"))
}

fn add(labels: &mut LabelSet, more: &LabelSet) {
    for (name, value) in more.iter() {
        labels.set_default(name, value);
    }
}

/// Targets of one object, and the ports of pods that they stand for.
struct Building<'a> {
    all: &'a All,
    namespace: String,
    targets: Vec<LabelSet>,
    /// Pods that an address leads to, and their ports that are targets.
    pods: BTreeSet<String>,
    ports: BTreeSet<(String, String)>,
}

impl<'a> Building<'a> {
    fn new(item: &Value, all: &'a All) -> Self {
        Self {
            all,
            namespace: text(item, "/metadata/namespace"),
            targets: Vec::new(),
            pods: BTreeSet::new(),
            ports: BTreeSet::new(),
        }
    }

    /// A target, with the pod's labels where there is one behind it.
    fn push(&mut self, mut target: LabelSet, reference: &Value, ip: &str, port: &str) {
        target.set("__address__", &host_port(ip, port));
        if text(reference, "/kind") == "Pod" {
            let name = text(reference, "/name");
            if let Some(pod) = find(self.all, Kind::Pod, &self.namespace, &name) {
                add(&mut target, &pod_labels(pod));
                for container in list(pod, "/spec/containers") {
                    let ports = list(container, "/ports").iter();
                    for own in ports.filter(|own| text(own, "/containerPort") == port) {
                        add(
                            &mut target,
                            &container_labels(pod, container, false, Some(own)),
                        );
                    }
                }
                self.ports.insert((name.clone(), port.to_owned()));
                self.pods.insert(name);
            }
        }
        self.targets.push(target);
    }

    /// Further ports of the pods are targets, too.
    fn finish(mut self, labels: LabelSet) -> Group {
        for name in &self.pods {
            let Some(pod) = find(self.all, Kind::Pod, &self.namespace, name) else {
                continue;
            };
            for container in list(pod, "/spec/containers") {
                for port in list(container, "/ports") {
                    let number = text(port, "/containerPort");
                    if self.ports.contains(&(name.clone(), number.clone())) {
                        continue;
                    }
                    let mut target = container_labels(pod, container, false, Some(port));
                    target.set(
                        "__address__",
                        &host_port(&text(pod, "/status/podIP"), &number),
                    );
                    add(&mut target, &pod_labels(pod));
                    self.targets.push(target);
                }
            }
        }
        Group {
            targets: self.targets,
            labels,
        }
    }
}

/// The labels of an object and of the service that it belongs to.
fn with_service(item: &Value, kind: &str, service: &str, all: &All) -> LabelSet {
    let mut labels = described(item, kind);
    let namespace = text(item, "/metadata/namespace");
    if let Some(service) = find(all, Kind::Service, &namespace, service) {
        add(&mut labels, &service_labels(service));
    }
    labels
}

pub(super) fn endpoints(item: &Value, all: &All) -> Group {
    let labels = with_service(item, "endpoints", &text(item, "/metadata/name"), all);
    let mut building = Building::new(item, all);
    for subset in list(item, "/subsets") {
        for port in list(subset, "/ports") {
            let places = [("/addresses", "true"), ("/notReadyAddresses", "false")];
            for (place, is_ready) in places {
                for address in list(subset, place) {
                    let mut target = LabelSet::new();
                    let reference = &address["targetRef"];
                    for (name, value) in [
                        ("endpoint_port_name", text(port, "/name")),
                        ("endpoint_port_protocol", protocol(port)),
                        ("endpoint_ready", is_ready.to_owned()),
                        ("endpoint_hostname", text(address, "/hostname")),
                        ("endpoint_node_name", text(address, "/nodeName")),
                        ("endpoint_address_target_kind", text(reference, "/kind")),
                        ("endpoint_address_target_name", text(reference, "/name")),
                    ] {
                        set(&mut target, name, &value);
                    }
                    building.push(
                        target,
                        reference,
                        &text(address, "/ip"),
                        &text(port, "/port"),
                    );
                }
            }
        }
    }
    building.finish(labels)
}

pub(super) fn slices(item: &Value, all: &All) -> Group {
    let service = text(item, "/metadata/labels/kubernetes.io~1service-name");
    let mut labels = with_service(item, "endpointslice", &service, all);
    set(
        &mut labels,
        "endpointslice_address_type",
        &text(item, "/addressType"),
    );
    let mut building = Building::new(item, all);
    for port in list(item, "/ports") {
        for endpoint in list(item, "/endpoints") {
            for address in list(endpoint, "/addresses") {
                let mut target = LabelSet::new();
                let reference = &endpoint["targetRef"];
                for (name, value) in [
                    ("port", text(port, "/port")),
                    ("port_name", text(port, "/name")),
                    ("port_protocol", protocol(port)),
                    ("port_app_protocol", text(port, "/appProtocol")),
                    (
                        "endpoint_conditions_ready",
                        text(endpoint, "/conditions/ready"),
                    ),
                    (
                        "endpoint_conditions_serving",
                        text(endpoint, "/conditions/serving"),
                    ),
                    (
                        "endpoint_conditions_terminating",
                        text(endpoint, "/conditions/terminating"),
                    ),
                    ("endpoint_hostname", text(endpoint, "/hostname")),
                    ("endpoint_node_name", text(endpoint, "/nodeName")),
                    ("endpoint_zone", text(endpoint, "/zone")),
                    ("address_target_kind", text(reference, "/kind")),
                    ("address_target_name", text(reference, "/name")),
                ] {
                    set(&mut target, &format!("endpointslice_{name}"), &value);
                }
                let topology = endpoint["deprecatedTopology"].as_object();
                for (name, value) in topology.into_iter().flatten() {
                    let name = label_name(name);
                    let value = value.as_str().unwrap_or_default();
                    set(
                        &mut target,
                        &format!("endpointslice_endpoint_topology_{name}"),
                        value,
                    );
                    let present = format!("endpointslice_endpoint_topology_present_{name}");
                    set(&mut target, &present, "true");
                }
                let ip = address.as_str().unwrap_or_default();
                building.push(target, reference, ip, &text(port, "/port"));
            }
        }
    }
    building.finish(labels)
}
