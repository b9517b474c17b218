//! What the linkage as a whole must hold to.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::compare::compare;
use super::frequency::Frequency;
use super::{Attribute, Comparator, Level, Link, Model, Profile, THRESHOLD, Vector, blocking_keys, candidates, clusters};

fn schema(comparators: &[Comparator]) -> Vec<Attribute> {
    comparators.iter().enumerate().map(|(i, comparator)| Attribute { name: format!("field {i}"), comparator: *comparator }).collect()
}

fn people() -> Vec<Attribute> {
    use Comparator::{Date, Digits, Exact, Name, Organisation, Words};
    schema(&[Name, Name, Words, Digits, Date, Exact, Organisation])
}

fn profile(schema: &[Attribute], values: &[&str]) -> Profile {
    Profile::of(schema, &values.iter().map(|value| Some(*value)).collect::<Vec<_>>())
}

/// Three hundred entities, every third of them with a second, damaged record.
fn population() -> Vec<Vec<String>> {
    let given = ["anna", "boris", "carla", "dmitri", "elena", "felix", "greta", "hugo", "irina", "jonas", "klara"];
    let family = ["adler", "brandt", "castro", "dupont", "eriksen", "fischer", "garcia", "horvath", "ivanov", "jansen", "keller", "lindt", "moreau"];
    let street = ["oak street", "mill lane", "harbour road", "station avenue", "church hill", "castle crescent", "bridge place"];
    let firm = ["north trade", "blue river shipping", "sunrise bakery", "alpine tools", "city archive"];
    let mut rows = Vec::new();
    for i in 0..300_usize {
        let pick = |list: &[&str], salt: usize| list[usize::try_from(super::text::mix((i * 31 + salt) as u64) % list.len() as u64).unwrap()].to_owned();
        let number = super::text::mix(i as u64);
        let row = vec![
            pick(&given, 1),
            pick(&family, 2),
            format!("{} {}", number % 90 + 1, pick(&street, 3)),
            format!("1{:09}", number % 1_000_000_000),
            format!("19{:02}{:02}{:02}", number % 70 + 20, number % 12 + 1, number % 28 + 1),
            format!("user{i}x{}@example.org", number % 1000),
            pick(&firm, 4),
        ];
        if i % 3 == 0 {
            let mut copy = row.clone();
            match i % 4 {
                0 => copy.swap(0, 1),
                1 => copy[3].replace_range(4..5, "7"),
                2 => copy[5].clear(),
                _ => copy[1].push('s'),
            }
            rows.push(copy);
        }
        rows.push(row);
    }
    rows
}

fn profiles(schema: &[Attribute], rows: &[Vec<String>]) -> Vec<Profile> {
    rows.iter().map(|row| profile(schema, &row.iter().map(String::as_str).collect::<Vec<_>>())).collect()
}

fn links(model: &Model, schema: &[Attribute], profiles: &[Profile]) -> Vec<Link> {
    candidates(schema, profiles)
        .map(|(a, b)| {
            let score = model.score(&profiles[a], &profiles[b]);
            Link { a, b, probability: score.probability, weight: score.weight }
        })
        .collect()
}

#[test]
fn levels() {
    use Comparator::{Date, Digits, Exact, Name, Organisation, Words};
    use Level::{Close, Different, Equal, Missing, Similar, Weak};
    for (comparator, a, b, level) in [
        (Name, "O'Brien", "obrien", Equal),
        (Name, "ＡＮＮＡ", "anna", Equal),
        (Name, "harley", "haryley", Close),
        (Name, "Smith, John", "john smith", Close),
        (Name, "j", "john", Similar),
        (Name, "anna", "hugo", Different),
        (Name, "王小明", "王小明", Equal),
        (Name, "王小明", "李大伟", Different),
        (Name, "", "anna", Missing),
        (Words, "728 W. Roosevelt Rd", "728 west roosevelt road", Similar),
        (Words, "pridhamstreet", "pridham street", Equal),
        (Words, "pridhamp street", "pridham street", Close),
        (Words, "14 oak street", "41 oak street", Weak),
        (Words, "14 oak street", "9 mill lane", Different),
        (Words, "科技街382号紫金广场3幢", "四川省乐山市科技街382号紫金广场3幢", Similar),
        (Organisation, "Whiz Kids Nursery Center, Inc.", "Whiz Kids Nursery Center", Close),
        (Organisation, "盛天网络科技有限公司", "通化盛天网络科技有限公司", Close),
        (Organisation, "Blue River Shipping", "City Archive", Different),
        (Digits, "138-0013 8000", "13800138000", Equal),
        (Digits, "+8613800138000", "13800138000", Close),
        (Digits, "7364009", "7360409", Close),
        (Digits, "12", "13", Different),
        (Date, "1980-12-31", "31/12/1980", Equal),
        (Date, "1980年2月1日", "1980-01-02", Close),
        (Date, "1980-02-01", "1980-02-17", Similar),
        (Date, "1980-02-01", "1980-11-17", Weak),
        (Date, "1980-02-01", "1991-11-17", Different),
        (Exact, "A@B.org", "a@b.org", Equal),
        (Exact, "anna@example.org", "ana@example.org", Close),
        (Exact, "nsw", "vic", Different),
        (Exact, " - ", "vic", Missing),
    ] {
        let schema = schema(&[comparator]);
        let (a_profile, b_profile) = (profile(&schema, &[a]), profile(&schema, &[b]));
        assert_eq!(compare(&schema, &[Frequency::default()], &a_profile, &b_profile).level(0), level, "{a} / {b}");
    }
}

#[test]
fn swapped_names_are_crossed_and_a_shared_name_is_not() {
    let schema = schema(&[Comparator::Name, Comparator::Name]);
    let frequencies = [Frequency::default(), Frequency::default()];
    let cross = |a: [&str; 2], b: [&str; 2]| {
        let vector = compare(&schema, &frequencies, &profile(&schema, &a), &profile(&schema, &b));
        [vector.level(0), vector.level(1)]
    };
    assert_eq!(cross(["ashleigh", "quilliam"], ["quilliam", "ashleigh"]), [Level::Crossed, Level::Crossed]);
    assert_eq!(cross(["nathan", "hill"], ["mills", "nathan"])[0], Level::Different);
}

#[test]
fn a_population_is_linked_without_labels() {
    let schema = people();
    let rows = population();
    let profiles = profiles(&schema, &rows);
    let model = Model::learn(&schema, &profiles).unwrap();
    let clusters = clusters(profiles.len(), &links(&model, &schema, &profiles), THRESHOLD, &[]);
    let pairs = clusters.iter().enumerate().filter(|(i, first)| i != *first).count();
    assert_eq!(pairs, 100);
    // A copy stands right before its original.
    assert!(clusters.iter().enumerate().all(|(i, first)| i - first < 2));
}

#[test]
fn a_model_survives_serialisation_and_explains_itself() {
    let schema = people();
    let profiles = profiles(&schema, &population());
    let model = Model::learn(&schema, &profiles).unwrap();
    let again: Model = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    let score = again.score(&profiles[0], &profiles[1]);
    assert!((score.probability - model.score(&profiles[0], &profiles[1]).probability).abs() < 1e-9);
    assert_eq!(score.evidence.len(), schema.len());
    assert!((score.weight - score.evidence.iter().map(|evidence| evidence.bits).sum::<f64>()).abs() < 1e-9);
}

#[test]
fn too_little_teaches_nothing() {
    let schema = people();
    assert!(Model::learn(&schema, &profiles(&schema, &population()[..10])).is_none());
    assert!(Model::learn(&[], &vec![Profile::of(&[], &[]); 100]).is_none());
    let nameless = vec![Profile::of(&schema, &[]); 50];
    let model = Model::learn(&schema, &nameless).unwrap();
    assert!(model.score(&nameless[0], &nameless[1]).probability < THRESHOLD);
}

#[test]
fn one_wrong_link_does_not_chain_two_entities() {
    let mut links: Vec<Link> = Vec::new();
    for side in [0, 5] {
        for a in side..side + 5 {
            links.extend((a + 1..side + 5).map(|b| Link { a, b, probability: 0.999, weight: 20.0 }));
        }
    }
    links.push(Link { a: 4, b: 5, probability: 0.95, weight: 14.0 });
    assert_eq!(clusters(10, &links, THRESHOLD, &[]), [0, 0, 0, 0, 0, 5, 5, 5, 5, 5]);
}

#[test]
fn large_blocks_are_narrowed() {
    let schema = schema(&[Comparator::Date]);
    let same = vec![profile(&schema, &["1900-01-01"]); 2000];
    assert!(candidates(&schema, &same).count() < 30_000);
}

/// Learned once for all cases of the properties.
static MODEL: OnceLock<Model> = OnceLock::new();

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[a-d]{0,6}( [a-d]{1,4})?", "[0-9]{0,9}", "19[0-9]{2}-0[1-9]-0[1-9]", "[一-丐]{1,4}[0-9]{0,3}", ".{0,12}"]
}

fn record() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(value(), 7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn comparing_is_symmetric(a in record(), b in record()) {
        let schema = people();
        let frequencies = vec![Frequency::default(); schema.len()];
        let both = profiles(&schema, &[a, b]);
        prop_assert_eq!(compare(&schema, &frequencies, &both[0], &both[1]), compare(&schema, &frequencies, &both[1], &both[0]));
    }

    #[test]
    fn keys_are_few_and_a_copy_shares_them(a in record()) {
        let schema = people();
        let both = profiles(&schema, &[a.clone(), a]);
        let keys = blocking_keys(&schema, &both[0]);
        prop_assert!(keys.len() <= 16);
        prop_assert_eq!(keys, blocking_keys(&schema, &both[1]));
    }

    #[test]
    fn learning_is_free_of_order(rows in prop::collection::vec(record(), 20..40), seed: u64) {
        let schema = people();
        let mut shuffled: Vec<_> = rows.iter().cloned().enumerate().collect();
        shuffled.sort_by_key(|(i, _)| super::text::mix(seed ^ *i as u64));
        let shuffled: Vec<_> = shuffled.into_iter().map(|(_, row)| row).collect();
        prop_assert_eq!(Model::learn(&schema, &profiles(&schema, &rows)), Model::learn(&schema, &profiles(&schema, &shuffled)));
    }

    #[test]
    fn scores_are_probabilities_and_rise_with_agreement(a in record(), b in record(), attribute in 0..7_usize) {
        let schema = people();
        let model = MODEL.get_or_init(|| Model::learn(&schema, &profiles(&schema, &population())).unwrap());
        let both = profiles(&schema, &[a, b]);
        let vector = model.compare(&both[0], &both[1]);
        let score = model.score(&both[0], &both[1]);
        prop_assert!((0.0..=1.0).contains(&score.probability));
        prop_assert!(score.weight.is_finite());
        if vector.level(attribute) == Level::Missing {
            prop_assert!(score.evidence.iter().all(|evidence| evidence.attribute != attribute));
        } else {
            let different = model.weigh(vector.with(attribute, Level::Different), &both[0], &both[1]);
            prop_assert!(score.weight >= different.weight - 1e-9);
        }
    }

    #[test]
    fn clusters_are_free_of_order(weights in prop::collection::vec((0..12_usize, 0..12_usize, 0..40_u8), 0..60), apart in prop::collection::vec((0..12_usize, 0..12_usize), 0..4), seed: u64) {
        let distinct: std::collections::BTreeMap<_, _> = weights.into_iter().map(|(a, b, weight)| ((a.min(b), a.max(b)), weight)).collect();
        let links: Vec<Link> = distinct
            .into_iter()
            .map(|((a, b), weight)| Link { a, b, probability: f64::from(weight) / 40.0, weight: f64::from(weight) })
            .collect();
        let mut shuffled: Vec<(usize, Link)> = links.iter().copied().map(|link| Link { a: link.b, b: link.a, ..link }).enumerate().collect();
        shuffled.sort_by_key(|(i, _)| super::text::mix(seed ^ *i as u64));
        let shuffled: Vec<Link> = shuffled.into_iter().map(|(_, link)| link).collect();
        let found = clusters(12, &links, 0.5, &apart);
        prop_assert_eq!(&found, &clusters(12, &shuffled, 0.5, &apart));
        prop_assert!(found.iter().enumerate().all(|(i, first)| *first <= i && found[*first] == *first));
        prop_assert!(apart.iter().all(|(a, b)| a == b || found[*a] != found[*b]), "kept apart, whatever links them");
    }

    #[test]
    fn a_vector_keeps_what_is_put_in(levels in prop::collection::vec(0..7_usize, 32)) {
        let vector = levels.iter().enumerate().fold(Vector::default(), |vector, (i, level)| vector.with(i, Level::ALL[*level]));
        prop_assert!(levels.iter().enumerate().all(|(i, level)| vector.level(i) == Level::ALL[*level]));
    }
}
