//! What a reading of all of this machine's figures costs.

use criterion::{Criterion, criterion_group, criterion_main};
use pulseboard_host::node::Node;
use pulseboard_series::Batch;

fn node(criterion: &mut Criterion) {
    let mut node = Node::new("bench");
    let mut batch = Batch::new();
    criterion.bench_function("node", |bencher| {
        bencher.iter(|| {
            batch.clear();
            node.read(&mut batch, 1_000);
            batch.rows().len()
        });
    });
}

criterion_group!(benches, node);
criterion_main!(benches);
