//! Generated files are what the program generates. `just generate` writes them.

use std::path::Path;

pub fn check(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("GENERATE").is_some() {
        std::fs::write(&path, now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == now, "docs/{name} is not current: run `just generate` and look at what changed");
}

#[test]
fn the_schema_is_current() {
    check("schema.graphql", &api::docs::schema());
}

#[test]
fn the_dictionary_is_current() {
    check("data-dictionary.md", &api::docs::dictionary());
}

#[tokio::test]
async fn the_matrix_is_current() {
    check("policy-matrix.md", &api::docs::matrix().await.unwrap());
}

#[test]
fn every_personal_kind_is_a_scalar_of_the_schema() {
    let schema = api::docs::schema();
    for field in policy::Field::ALL.iter().filter(|field| field.personal() && !field.entry().key.starts_with("Source.")) {
        let (object, name) = field.entry().key.split_once('.').unwrap();
        let scalar = name[..1].to_uppercase() + &name[1..];
        assert!(schema.contains(&format!("{name}(view: View! = MASKED): {scalar}")), "{object}.{name} is not guarded in the schema");
    }
}
