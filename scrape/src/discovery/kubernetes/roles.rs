//! From objects to targets, with the labels of Prometheus' documentation of each role. Pure.

mod endpoints;

use serde_json::Value;

use self::endpoints::{endpoints, slices};
use super::{
    api::{All, Kind},
    labels::{container_labels, described, host_port, pod_labels, protocol, service_labels, set},
};
use crate::{
    config::KubernetesRole,
    discovery::meta::{label_name, list, text},
    labels::LabelSet,
    target::Group,
};

/// All targets of a role.
pub(super) fn groups(role: KubernetesRole, all: &All) -> Vec<Group> {
    let of = |kind: Kind| all.get(&kind).into_iter().flat_map(|items| items.values());
    match role {
        KubernetesRole::Node => of(Kind::Node).map(node).collect(),
        KubernetesRole::Service => of(Kind::Service).map(service).collect(),
        KubernetesRole::Pod => of(Kind::Pod).map(pod).collect(),
        KubernetesRole::Ingress => of(Kind::Ingress).map(ingress).collect(),
        KubernetesRole::Endpoints => of(Kind::Endpoints).map(|one| endpoints(one, all)).collect(),
        KubernetesRole::EndpointSlice => of(Kind::EndpointSlice)
            .map(|one| slices(one, all))
            .collect(),
    }
}

fn node(item: &Value) -> Group {
    let mut labels = described(item, "node");
    set(
        &mut labels,
        "node_provider_id",
        &text(item, "/spec/providerID"),
    );
    let addresses = list(item, "/status/addresses");
    for address in addresses.iter().rev() {
        let kind = label_name(&text(address, "/type"));
        set(
            &mut labels,
            &format!("node_address_{kind}"),
            &text(address, "/address"),
        );
    }
    let order = [
        "InternalIP",
        "InternalDNS",
        "ExternalIP",
        "ExternalDNS",
        "LegacyHostIP",
        "Hostname",
    ];
    let found = order.iter().find_map(|kind| {
        addresses
            .iter()
            .find(|address| text(address, "/type") == *kind)
    });
    let Some(address) = found else {
        return Group::default();
    };
    let port = text(item, "/status/daemonEndpoints/kubeletEndpoint/Port");
    let mut target = LabelSet::new();
    target.set("__address__", &host_port(&text(address, "/address"), &port));
    target.set("instance", &text(item, "/metadata/name"));
    Group {
        targets: vec![target],
        labels,
    }
}

fn service(item: &Value) -> Group {
    let mut labels = service_labels(item);
    let kind = text(item, "/spec/type");
    set(&mut labels, "service_type", &kind);
    if kind == "ExternalName" {
        set(
            &mut labels,
            "service_external_name",
            &text(item, "/spec/externalName"),
        );
    } else {
        set(
            &mut labels,
            "service_cluster_ip",
            &text(item, "/spec/clusterIP"),
        );
    }
    if kind == "LoadBalancer" {
        set(
            &mut labels,
            "service_loadbalancer_ip",
            &text(item, "/spec/loadBalancerIP"),
        );
    }
    let host = format!(
        "{}.{}.svc",
        text(item, "/metadata/name"),
        text(item, "/metadata/namespace")
    );
    let targets = list(item, "/spec/ports").iter().map(|port| {
        let mut target = LabelSet::new();
        let number = text(port, "/port");
        target.set("__address__", &host_port(&host, &number));
        set(&mut target, "service_port_name", &text(port, "/name"));
        set(&mut target, "service_port_number", &number);
        set(&mut target, "service_port_protocol", &protocol(port));
        target
    });
    Group {
        targets: targets.collect(),
        labels,
    }
}

fn pod(item: &Value) -> Group {
    let labels = pod_labels(item);
    let ip = text(item, "/status/podIP");
    let mut targets = Vec::new();
    // a pod that has no address yet cannot be asked
    let places = [("/spec/containers", false), ("/spec/initContainers", true)];
    for (place, is_init) in places.iter().filter(|_| !ip.is_empty()) {
        for container in list(item, place) {
            let ports = list(container, "/ports");
            for port in ports {
                let mut target = container_labels(item, container, *is_init, Some(port));
                target.set(
                    "__address__",
                    &host_port(&ip, &text(port, "/containerPort")),
                );
                targets.push(target);
            }
            if ports.is_empty() {
                let mut target = container_labels(item, container, *is_init, None);
                target.set("__address__", &ip);
                targets.push(target);
            }
        }
    }
    Group { targets, labels }
}

fn ingress(item: &Value) -> Group {
    let mut labels = described(item, "ingress");
    set(
        &mut labels,
        "ingress_class_name",
        &text(item, "/spec/ingressClassName"),
    );
    let secured: Vec<String> = list(item, "/spec/tls")
        .iter()
        .flat_map(|tls| list(tls, "/hosts"))
        .filter_map(|host| host.as_str().map(str::to_owned))
        .collect();
    let mut targets = Vec::new();
    for rule in list(item, "/spec/rules") {
        let host = match text(rule, "/host") {
            host if host.is_empty() => "*".to_owned(),
            host => host,
        };
        let is_secured = secured.iter().any(|one| {
            let wild = one.strip_prefix("*.").zip(host.split_once('.'));
            *one == host || wild.is_some_and(|(domain, (_, rest))| domain == rest)
        });
        let mut paths: Vec<String> = list(rule, "/http/paths")
            .iter()
            .map(|path| text(path, "/path"))
            .collect();
        if paths.is_empty() {
            paths.push("/".to_owned());
        }
        for path in paths {
            let mut target = LabelSet::new();
            target.set("__address__", &host);
            set(
                &mut target,
                "ingress_scheme",
                if is_secured { "https" } else { "http" },
            );
            set(&mut target, "ingress_host", &host);
            set(
                &mut target,
                "ingress_path",
                if path.is_empty() { "/" } else { &path },
            );
            targets.push(target);
        }
    }
    Group { targets, labels }
}
