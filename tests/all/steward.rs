//! The data steward's work: what was imported is looked at, mended, merged, pinned, undone and signed.

use api::intake::{self, File, Options, Report};
use serde_json::{Value, json};
use tests::{Answer, Home, homes};

const HEADER: &str = "序号,客户姓名,手机,邮箱,公司,行业,客户状态,负责人\n";

pub async fn run(home: &Home, source: impl Into<Option<&str>>, name: &str, bytes: &[u8], options: &Options) -> Result<Report, String> {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    intake::run(&home.house, &steward, &[File::of(source, name, bytes.to_vec())], options, &mut |_| {}).await.map_err(|stop| stop.to_string())
}

pub async fn import(home: &Home, text: &str) -> Report {
    run(home, "sales", "a.csv", format!("{HEADER}{text}").as_bytes(), &Options::default()).await.unwrap()
}

pub async fn ask(home: &Home, query: &str) -> Value {
    ask_of(home, "steward", query).await.data().clone()
}

async fn ask_of(home: &Home, persona: &str, query: &str) -> Answer {
    home.tenant("globex").persona(persona).purpose("data_quality").query(query).await
}

async fn found(home: &Home, number: &str) -> Value {
    ask(home, &format!("{{ findCustomer(by: {{orderNumber: \"{number}\"}}) {{ id }} }}")).await["findCustomer"].clone()
}

/// The customer with this phone.
pub async fn with_phone(home: &Home, phone: &str) -> Value {
    let fields = "id number name(view: CLEAR) phone(view: CLEAR) email(view: CLEAR) company status sources { id system externalId rules { field rules } } provenance { field source rule } quality { score issues }";
    ask(home, &format!("{{ findCustomer(by: {{phone: \"{phone}\"}}) {{ {fields} }} }}")).await["findCustomer"].clone()
}

pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_merge_is_undone_any_number_of_times() {
    for home in homes().await {
        import(&home, "91001,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n91002,诸葛乙二,13912345671,,乙公司,,潜在客户,李经理\n").await;
        let (one, other) = (with_phone(&home, "13812345670").await, with_phone(&home, "13912345671").await);
        let (one_id, other_id) = (text(&one, "id").to_owned(), text(&other, "id").to_owned());
        for round in 0..3 {
            let merge = format!(
                "mutation {{ mergeCustomers(winner: \"{one_id}\", loser: \"{other_id}\", reason: \"the same shop\") {{ result {{ id sources {{ id }} }} userErrors {{ message }} }} }}"
            );
            let merged = ask(&home, &merge).await;
            assert!(merged["mergeCustomers"]["result"].is_object(), "round {round}: {merged}");
            let result = &merged["mergeCustomers"]["result"];
            assert_eq!((text(result, "id"), result["sources"].as_array().unwrap().len()), (one_id.as_str(), 2 + round), "round {round}: {merged}");
            // The id that went up redirects, and both telephones find the one customer.
            let redirected = ask(&home, &format!("{{ customer(id: \"{other_id}\") {{ id }} }}")).await;
            assert_eq!(text(&redirected["customer"], "id"), one_id);
            // Edited meanwhile: a later order by the second telephone belongs to the merged customer.
            import(&home, &format!("{},诸葛乙二,13912345671,,乙公司,,流失客户,李经理\n", 92_000 + round)).await;
            let journal = ask(&home, &format!("{{ merges(customer: \"{one_id}\", first: 1) {{ id kind reason records undoneAt }} }}")).await;
            let entry = &journal["merges"][0];
            assert_eq!((text(entry, "kind"), text(entry, "reason"), &entry["undoneAt"]), ("merged", "the same shop", &Value::Null));
            let undo = format!("mutation {{ undoMerge(id: \"{}\") {{ result {{ id }} userErrors {{ message }} }} }}", text(entry, "id"));
            let undone = ask(&home, &undo).await;
            assert_eq!(
                (text(&undone["undoMerge"]["result"][0], "id"), text(&undone["undoMerge"]["result"][1], "id")),
                (one_id.as_str(), other_id.as_str()),
                "{undone}"
            );
            let again = ask(&home, &undo).await;
            assert!(text(&again["undoMerge"]["userErrors"][0], "message").contains("undone already"));
            assert_eq!(text(&with_phone(&home, "13812345670").await, "id"), one_id);
            let back = ask(&home, &format!("{{ customer(id: \"{other_id}\") {{ id company sources {{ id }} }} }}")).await;
            assert_eq!((text(&back["customer"], "id"), text(&back["customer"], "company")), (other_id.as_str(), "乙公司"));
            assert_eq!(back["customer"]["sources"].as_array().unwrap().len(), 2 + round, "its later record came along: {back}");
        }
        // A new record of the second person finds the second customer, not the first.
        import(&home, "93000,诸葛乙二,13912345671,,乙公司,,成交客户,李经理\n").await;
        assert!(with_phone(&home, "13812345670").await["sources"].as_array().unwrap().iter().all(|record| record["externalId"] != "93000"));
        let refused =
            ask_of(&home, "sales", &format!("mutation {{ mergeCustomers(winner: \"{one_id}\", loser: \"{other_id}\", reason: \"\") {{ result {{ id }} }} }}"))
                .await;
        assert_eq!(refused.code(), "FORBIDDEN");
        let log = home.tenant("globex").persona("auditor").query("{ audit { events(first: 50) { nodes { operation outcome } } } }").await;
        assert!(log.data().to_string().contains("\"denied\""));
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_split_off_and_the_split_holds() {
    for home in homes().await {
        import(&home, "91001,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n91002,欧阳甲一,13812345670,,乙公司,,潜在客户,李经理\n").await;
        let both = with_phone(&home, "13812345670").await;
        let sources = both["sources"].as_array().unwrap();
        let off = sources.iter().find(|record| record["externalId"] == "91002").unwrap();
        let split = |records: &str| {
            format!(
                "mutation {{ splitCustomer(id: \"{}\", records: [{records}]) {{ result {{ id number company }} userErrors {{ message code }} }} }}",
                text(&both, "id")
            )
        };
        let all: Vec<String> = sources.iter().map(|record| format!("\"{}\"", text(record, "id"))).collect();
        assert!(ask(&home, &split(&all.join(","))).await["splitCustomer"]["userErrors"][0]["message"].as_str().unwrap().contains("at least one"));
        let done = ask(&home, &split(&format!("\"{}\"", text(off, "id")))).await;
        let new = &done["splitCustomer"]["result"];
        assert!(text(new, "company") == "乙公司" && text(new, "id") != text(&both, "id"), "{done}");
        // The same file again, and a third record of the same name and number: the two stay two.
        import(&home, "91001,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n91002,欧阳甲一,13812345670,,乙公司,,潜在客户,李经理\n91003,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n").await;
        let after = ask(&home, &format!("{{ customer(id: \"{}\") {{ sources {{ externalId }} }} }}", text(new, "id"))).await;
        assert!(after["customer"]["sources"].as_array().unwrap().iter().all(|record| record["externalId"] != "91001"), "{after}");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_stays_until_it_is_taken_away() {
    for home in homes().await {
        import(&home, "91001,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n").await;
        let id = text(&with_phone(&home, "13812345670").await, "id").to_owned();
        let pin = |field: &str, value: &str| {
            format!(
                "mutation {{ pinField(customer: \"{id}\", field: \"{field}\", value: \"{value}\", reason: \"called her\") {{ result {{ name(view: CLEAR) status provenance {{ field rule }} }} userErrors {{ field message }} }} }}"
            )
        };
        let pinned = ask(&home, &pin("Customer.name", "欧阳 乙一 女士")).await;
        assert_eq!(text(&pinned["pinField"]["result"], "name"), "欧阳乙一", "{pinned}");
        assert!(pinned.to_string().contains("pinned by hand"));
        let status = ask(&home, &pin("Customer.status", "流失客户")).await;
        assert_eq!(text(&status["pinField"]["result"], "status"), "LOST");
        import(&home, "91001,欧阳甲一,13812345670,,甲公司,,潜在客户,李经理\n").await;
        let now = with_phone(&home, "13812345670").await;
        assert_eq!((text(&now, "name"), text(&now, "status")), ("欧阳乙一", "LOST"));
        let wrong = ask(&home, &pin("Customer.phone", "138999")).await;
        let error = &wrong["pinField"]["userErrors"][0];
        assert!(text(error, "field") == "Customer.phone" && !text(error, "message").contains("138999"), "{wrong}");
        assert_eq!(ask_of(&home, "steward", &pin("Customer.number", "C1")).await.code(), "FORBIDDEN");
        assert_eq!(ask_of(&home, "bi", &pin("Customer.name", "某人")).await.code(), "FORBIDDEN");
        let unpinned =
            ask(&home, &format!("mutation {{ unpinField(customer: \"{id}\", field: \"Customer.name\") {{ result {{ name(view: CLEAR) }} }} }}")).await;
        assert_eq!(text(&unpinned["unpinField"]["result"], "name"), "欧阳甲一");
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        assert_eq!(raw.number("SELECT count(*) FROM pin WHERE plain IS NOT NULL AND sealed IS NOT NULL").await, 0);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_undone_as_if_it_had_never_been() {
    for home in homes().await {
        import(&home, "91001,欧阳甲一,13812345670,,甲公司,I65,成交客户,李经理\n").await;
        let before = with_phone(&home, "13812345670").await;
        let customers = ask(&home, "{ customers(first: 1) { totalCount } }").await;
        // It changes one record, adds another to the same customer, and makes a new customer.
        let second = import(&home, "91001,欧阳甲一,13812345670,new@example.com,丙公司,I65,流失客户,李经理\n91002,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n91003,诸葛乙二,13912345671,,乙公司,,潜在客户,李经理\n").await;
        assert_eq!((second.files[0].counts.created, second.files[0].counts.updated), (2, 1));
        assert_eq!(text(&with_phone(&home, "13812345670").await, "email"), "new@example.com");
        let report = ask(&home, "{ imports(first: 1) { id state } }").await;
        let undo = format!("mutation {{ undoImport(id: \"{}\") {{ result {{ state }} userErrors {{ message }} }} }}", text(&report["imports"][0], "id"));
        assert_eq!(text(&ask(&home, &undo).await["undoImport"]["result"], "state"), "undone");
        let after = with_phone(&home, "13812345670").await;
        assert_eq!(after, before, "the record as it was");
        assert!(with_phone(&home, "13912345671").await.is_null());
        assert_eq!(ask(&home, "{ customers(first: 1) { totalCount } }").await, customers);
        // And the file can be imported again.
        let again = import(&home, "91003,诸葛乙二,13912345671,,乙公司,,潜在客户,李经理\n").await;
        assert_eq!(again.files[0].counts.created, 1);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_below_later_ones_is_undone_too() {
    for home in homes().await {
        for status in ["潜在客户", "成交客户", "流失客户"] {
            import(&home, &format!("91001,欧阳甲一,13812345670,,甲公司,,{status},李经理\n")).await;
        }
        let imports = ask(&home, "{ imports(first: 3) { id } }").await;
        let undo = |place: usize| format!("mutation {{ undoImport(id: \"{}\") {{ result {{ state }} }} }}", text(&imports["imports"][place], "id"));
        // The middle one: nothing is seen of it now, and nothing when the last is undone.
        ask(&home, &undo(1)).await;
        assert_eq!(text(&with_phone(&home, "13812345670").await, "status"), "LOST");
        ask(&home, &undo(0)).await;
        assert_eq!(text(&with_phone(&home, "13812345670").await, "status"), "PROSPECT");
        ask(&home, &undo(2)).await;
        assert!(with_phone(&home, "13812345670").await.is_null());
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_keeps_nothing_and_the_real_run_is_bound_to_it() {
    for home in homes().await {
        let file = format!(
            "{HEADER}91001,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n91002,诸葛乙二,138,,乙公司,,潜在客户,李经理\n91003,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n"
        );
        let dry = Options { dry_run: true, ..Options::default() };
        let shown = run(&home, "sales", "a.csv", file.as_bytes(), &dry).await.unwrap();
        let plan = shown.plan.clone().unwrap();
        assert_eq!((shown.files[0].counts.created, shown.files[0].counts.rejected, shown.linked().created), (2, 1, 1));
        assert!(with_phone(&home, "13812345670").await.is_null(), "nothing was kept");
        assert!(!ask(&home, "{ imports(first: 5) { file } }").await.to_string().contains("a.csv"));
        let left: Vec<_> = std::fs::read_dir(&home.config.data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("rehearsal")), "{left:?}");
        let bound = |plan: &str| Options { plan: Some(plan.to_owned()), ..Options::default() };
        for (bytes, hash, words) in [
            (file.replace("91001", "91009"), plan.clone(), "not those of the plan"),
            (file.clone(), "00".repeat(32), "no plan of this hash"),
            (file.clone(), "nonsense".to_owned(), "no plan of this hash"),
        ] {
            let refused = run(&home, "sales", "a.csv", bytes.as_bytes(), &bound(&hash)).await.unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
        assert!(with_phone(&home, "13812345670").await.is_null());
        let done = run(&home, "sales", "a.csv", file.as_bytes(), &bound(&plan)).await.unwrap();
        assert_eq!((done.files[0].counts, &done.files[0].tally), (shown.files[0].counts, &shown.files[0].tally));
        let stale = run(&home, "sales", "a.csv", file.as_bytes(), &bound(&plan)).await.unwrap_err();
        assert!(stale.contains("other data came in"), "{stale}");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_come_back_mended() {
    for home in homes().await {
        let report =
            import(&home, "91001,欧阳甲一,1381234567,,甲公司,,成交客户,李经理\n91002,=cmd|x,13812345671,,乙公司,,潜在客户,李经理\n合计,,,,,,,\n").await;
        assert_eq!(report.files[0].counts.rejected, 2);
        let id = ask(&home, "{ imports(first: 1) { id reasons { what times } } }").await["imports"][0].clone();
        assert_eq!(id["reasons"], json!([{ "what": "invalid_phone", "times": 1 }, { "what": "not_a_record", "times": 1 }]));
        let url = format!("{}/api/v1/imports/{}/rejects.csv", home.url, text(&id, "id"));
        let token = home.tenant("globex").persona("steward").token().await;
        let get = |purpose: &'static str, token: String| reqwest::Client::new().get(&url).header("x-purpose", purpose).bearer_auth(token).send();
        let csv = get("data_quality", token.clone()).await.unwrap().text().await.unwrap();
        assert!(csv.contains("1381234567") && csv.contains("11位") && csv.starts_with("序号,客户姓名,手机"), "{csv}");
        // Without the purpose the cells are hidden; without the right there is nothing.
        let masked = get("", token).await.unwrap().text().await.unwrap();
        assert!(!masked.contains("1381234567") && masked.contains("invalid_phone"), "{masked}");
        let bi = home.tenant("globex").persona("bi").token().await;
        assert_eq!(get("data_quality", bi).await.unwrap().status(), 403);
        // Mended, it is imported as it is: only its rows change.
        let mended = csv.replace("1381234567,", "13812345670,");
        let again = run(&home, "sales", "rejects.csv", mended.as_bytes(), &Options::default()).await.unwrap().files[0].counts;
        assert_eq!((again.created, again.updated, again.rejected), (1, 0, 1));
        assert_eq!(text(&with_phone(&home, "13812345670").await, "company"), "甲公司");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_source_gets_a_mapping_and_words_of_its_own() {
    for home in homes().await {
        let proposal = ask(&home, "{ proposeMapping(header: [\"客户姓名\", \"手机\", \"跟进状态\"], rows: [[\"欧阳甲一\", \"13812345670\", \"跟进中\"]]) { source tells columns { header to confidence reason } toml } }").await;
        assert_eq!(proposal["proposeMapping"]["source"], json!(null));
        assert!(proposal.to_string().contains("\"phone\"") && !proposal.to_string().contains("13812345670"), "{proposal}");
        let set = |columns: &str| {
            format!(
                "mutation {{ setMapping(input: {{source: \"crm\", label: \"客户系统\", columns: [{columns}]}}) {{ result {{ name mappingVersion }} userErrors {{ message }} }} }}"
            )
        };
        let twice = ask(&home, &set("{header: \"手机\", to: \"phone\"}, {header: \"电话\", to: \"phone\"}")).await;
        assert!(text(&twice["setMapping"]["userErrors"][0], "message").contains("'手机', '电话'"), "{twice}");
        let unknown = ask(&home, &set("{header: \"手机\", to: \"fone\"}")).await;
        assert!(text(&unknown["setMapping"]["userErrors"][0], "message").contains("did you mean 'phone'"), "{unknown}");
        let columns = "{header: \"客户姓名\", to: \"name\"}, {header: \"手机\", to: \"phone\"}, {header: \"跟进状态\", to: \"status\"}";
        assert_eq!(ask(&home, &set(columns)).await["setMapping"]["result"], json!({ "name": "crm", "mappingVersion": 1 }));
        assert_eq!(ask(&home, &set(columns)).await["setMapping"]["result"]["mappingVersion"], 1, "the same again changes nothing");
        let file = "客户姓名,手机,跟进状态\n欧阳甲一,１９０１２３４５６７０,跟进中\n";
        let first = run(&home, "crm", "crm.csv", file.as_bytes(), &Options::default()).await.unwrap();
        assert_eq!((first.files[0].counts.created, first.files[0].tally.warnings.get("status")), (1, Some(&1)), "a word that nobody knows");
        let add = "mutation { addWords(words: [{kind: STATUS_WORD, word: \"跟进中\", meaning: \"潜在客户\"}]) { result userErrors { message } } }";
        assert_eq!(ask(&home, add).await["addWords"]["result"], true);
        let bad = "mutation { addWords(words: [{kind: STATUS_WORD, word: \"x\", meaning: \"nothing\"}, {kind: MOBILE_SEGMENT, word: \"9\", meaning: \"mobile\"}]) { result userErrors { message } } }";
        let faults = ask(&home, bad).await;
        assert!(text(&faults["addWords"]["userErrors"][0], "message").contains("addition 1") && faults.to_string().contains("addition 2"), "{faults}");
        let columns = format!("{columns}, {{header: \"备注\", to: \"remarks\"}}");
        assert_eq!(ask(&home, &set(&columns)).await["setMapping"]["result"]["mappingVersion"], 2);
        let second = run(&home, "crm", "crm.csv", file.as_bytes(), &Options::default()).await.unwrap();
        assert_eq!((second.files[0].counts.updated, second.files[0].tally.warnings.get("status")), (1, None), "read anew by the new mapping");
        let customer = with_phone(&home, "19012345670").await;
        assert_eq!(text(&customer, "status"), "PROSPECT");
        let proposal = ask(&home, "{ proposeMapping(header: [\"跟进状态\", \"客户姓名\", \"手机\"]) { source } }").await;
        assert_eq!(proposal["proposeMapping"]["source"], "crm", "the next file of that shape needs no new mapping");
        let next = run(&home, None, "next.csv", "手机,客户姓名,跟进状态\n19012345671,欧阳乙一,跟进中\n".as_bytes(), &Options::default()).await.unwrap();
        assert_eq!((next.files[0].source.as_str(), next.files[0].counts.created), ("crm", 1));
        let nobody = run(&home, None, "next.csv", "手机,客户姓名\n19012345672,欧阳丙一\n".as_bytes(), &Options::default()).await.unwrap_err();
        assert!(nobody.contains("no source's last file had this header; name its source, one of sales"), "{nobody}");
        let rules = customer["sources"][0]["rules"].to_string();
        assert!(rules.contains("text.full_width") && rules.contains("status.alias"), "{rules}");
        let versions = ask(&home, "{ mappingVersions(source: \"crm\") { version author } }").await;
        assert_eq!(versions["mappingVersions"].as_array().unwrap().len(), 2);
        assert_eq!(ask_of(&home, "sales", "{ sources { name } }").await.code(), "FORBIDDEN");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_probable_waits_in_the_queue_or_is_linked() {
    for home in homes().await {
        // Persons of a register without telephone numbers, some of them written twice with slips.
        let mut people = String::from("id,given,surname,born,street,town\n");
        let given = ["anna", "bela", "carlo", "dora", "emil", "frieda", "georg", "hanna", "igor", "jana"];
        let family = ["mueller", "novak", "rossi", "smirnov", "tanaka", "weber", "yilmaz", "zhang", "okafor", "larsen", "moreau", "santos"];
        for n in 0..120_usize {
            let (first, last) = (given[n % 10], family[(n / 10 + n) % 12]);
            let (day, house) = (1 + n % 27, 3 + n * 7);
            people.push_str(&format!("a{n},{first},{last},19{:02}-0{}-{day:02},{house} long road,town{}\n", 30 + n % 60, 1 + n % 9, n % 7));
            if n % 6 == 0 {
                people.push_str(&format!(
                    "b{n},{first},{},19{:02}-0{}-{day:02},{house} long rd,town{}\n",
                    last.replace('a', "e"),
                    30 + n % 60,
                    1 + n % 9,
                    n % 7
                ));
            }
        }
        let columns = [
            ("id", "to: \"external_id\""),
            ("given", "to: \"given_name\", compare: \"name\""),
            ("surname", "to: \"surname\", compare: \"name\""),
            ("born", "compare: \"date\""),
            ("street", "compare: \"words\""),
            ("town", "compare: \"exact\""),
        ];
        let columns: Vec<String> = columns.iter().map(|(header, what)| format!("{{header: \"{header}\", {what}}}")).collect();
        ask(&home, &format!("mutation {{ setMapping(input: {{source: \"register\", columns: [{}]}}) {{ userErrors {{ message }} }} }}", columns.join(", ")))
            .await;
        ask(&home, "mutation { setThresholds(link: 1, review: 0.5) { result userErrors { message } } }").await;
        let report = run(&home, "register", "people.csv", people.as_bytes(), &Options::default()).await.unwrap();
        assert!(report.probable.joined == 0 && report.probable.queued >= 15, "{:?}", report.probable);
        let queue = ask(&home, "{ duplicates(first: 50) { id score evidence { attribute agrees bits } one { id } other { id } } }").await;
        let queue = queue["duplicates"].as_array().unwrap().clone();
        assert!(queue.len() >= 15 && queue.windows(2).all(|two| two[0]["score"].as_f64() >= two[1]["score"].as_f64()), "{queue:?}");
        assert!(queue[0]["evidence"].as_array().unwrap().iter().any(|said| said["attribute"] == "born" && said["bits"].as_f64() > Some(0.0)), "{}", queue[0]);
        let decide = |pair: &Value, decision: &str| {
            format!("mutation {{ decideDuplicate(id: \"{}\", decision: {decision}) {{ result {{ id }} userErrors {{ message }} }} }}", text(pair, "id"))
        };
        let merged = ask(&home, &decide(&queue[0], "MERGE")).await;
        assert_eq!(merged["decideDuplicate"]["result"].as_array().unwrap().len(), 1, "{merged}");
        assert_eq!(ask(&home, &decide(&queue[1], "DISMISS")).await["decideDuplicate"]["result"].as_array().unwrap().len(), 2);
        assert!(text(&ask(&home, &decide(&queue[1], "MERGE")).await["decideDuplicate"]["userErrors"][0], "message").contains("already"));
        let left = ask(&home, "{ duplicates(first: 50) { id } }").await;
        assert!(left["duplicates"].as_array().unwrap().iter().all(|pair| pair["id"] != queue[0]["id"] && pair["id"] != queue[1]["id"]));
        // The register of another town, with a threshold: what is probable is linked at once, with what is stored too.
        ask(&home, "mutation { setThresholds(link: 0.9, review: 0.5) { result } }").await;
        let more: String = people
            .lines()
            .skip(1)
            .filter(|line| line.starts_with('a'))
            .take(40)
            .map(|line| format!("c{}\n", line.replace(" long road", " lang road")))
            .collect();
        let linked = run(&home, "register", "more.csv", format!("id,given,surname,born,street,town\n{more}").as_bytes(), &Options::default()).await.unwrap();
        assert!(linked.probable.joined >= 30 && linked.probable.linked.merged >= 30, "{:?}", linked.probable);
        let bad = ask(&home, "mutation { setThresholds(link: 0.3, review: 0.5) { result userErrors { message } } }").await;
        assert!(text(&bad["setThresholds"]["userErrors"][0], "message").contains("review ≤ link"));
        assert_eq!(ask_of(&home, "sales", "{ duplicates { id } }").await.code(), "FORBIDDEN");
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        assert_eq!(raw.number("SELECT count(*) FROM match_model WHERE model IS NULL").await, 0, "the model is sealed");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_judged_and_signed_and_quality_is_reviewed() {
    for home in homes().await {
        let rows: String = (1..=30).map(|n| format!("{},欧阳甲一,136{:08},,甲公司,,成交客户,李经理\n", 91_000 + n, 10_000_000 + n * 37)).collect();
        import(&home, &rows).await;
        let id = text(&ask(&home, "{ imports(first: 1) { id } }").await["imports"][0], "id").to_owned();
        let draw = format!(
            "mutation {{ drawSample(import: \"{id}\", size: 4, seed: 7) {{ result {{ id size judged accuracy rows {{ id line phone(view: CLEAR) }} }} userErrors {{ message }} }} }}"
        );
        let (sample, same) = (ask(&home, &draw).await["drawSample"]["result"].clone(), ask(&home, &draw).await["drawSample"]["result"].clone());
        assert_eq!((sample["size"].as_i64(), &sample["rows"]), (Some(4), &same["rows"]), "the same seed draws the same rows");
        let sample_id = text(&sample, "id");
        let sign = format!("mutation {{ signSample(sample: \"{sample_id}\") {{ result {{ signedBy accuracy }} userErrors {{ message }} }} }}");
        assert!(text(&ask(&home, &sign).await["signSample"]["userErrors"][0], "message").contains("4 of 4"));
        for (n, row) in sample["rows"].as_array().unwrap().iter().enumerate() {
            let judge = format!(
                "mutation {{ judgeRow(sample: \"{sample_id}\", row: \"{}\", right: {}) {{ result {{ judged }} userErrors {{ message }} }} }}",
                text(row, "id"),
                n > 0
            );
            assert_eq!(ask(&home, &judge).await["judgeRow"]["result"]["judged"], n + 1);
        }
        let signed = ask(&home, &sign).await;
        assert_eq!(signed["signSample"]["result"]["signedBy"], "steward");
        let accuracy: Vec<f64> = signed["signSample"]["result"]["accuracy"].as_array().unwrap().iter().map(|share| share.as_f64().unwrap()).collect();
        assert!((accuracy[0] - 0.75).abs() < 1e-9 && accuracy[1] > 0.29 && accuracy[2] < 0.96, "{accuracy:?}");
        let reviewed =
            ask(&home, "mutation { reviewQuality { result { month source records completeness validity uniqueness consistency timeliness } } }").await;
        let reviews = reviewed["reviewQuality"]["result"].as_array().unwrap();
        assert!(
            reviews.len() >= 4 && reviews.iter().all(|review| review["validity"].as_f64() > Some(0.5) && review["completeness"].as_f64() <= Some(1.0)),
            "{reviewed}"
        );
        assert_eq!(ask(&home, "{ qualityReviews { month } }").await["qualityReviews"].as_array().unwrap().len(), reviews.len());
        // Where nobody reviewed a month, the server does so itself, once.
        entity::quality::monthly(&home.house).await.unwrap();
        let theirs = async || home.tenant("acme").persona("steward").query("{ qualityReviews { month source at } }").await.data()["qualityReviews"].clone();
        let first = theirs().await;
        assert!(first.as_array().unwrap().len() >= 4, "{first}");
        entity::quality::monthly(&home.house).await.unwrap();
        assert_eq!(theirs().await, first);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_fails_in_part_writes_nothing() {
    for home in homes().await {
        let both = "mutation { good: addWords(words: [{kind: STATUS_WORD, word: \"跟进中\", meaning: \"潜在客户\"}]) { result } bad: setThresholds(link: 0.1, review: 0.5) { userErrors { message } } }";
        ask(&home, both).await;
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        assert_eq!(raw.number("SELECT count(*) FROM reference_entry").await, 0);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_an_import() {
    for home in homes().await {
        let url = |query: &str| format!("{}/api/v1/imports?{query}", home.url);
        let token = home.tenant("globex").persona("steward").token().await;
        let post = async |query: &str, token: &str, body: String| {
            let answer = reqwest::Client::new().post(url(query)).header("x-purpose", "data_quality").bearer_auth(token).body(body).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
        };
        let file = format!("{HEADER}91001,欧阳甲一,13812345670,,甲公司,,成交客户,李经理\n");
        let (status, dry) = post("source=sales&name=up.csv&dryRun=true", &token, file.clone()).await;
        assert!(status == 200 && dry["plan"].is_string(), "{dry}");
        let (status, done) = post(&format!("source=sales&name=up.csv&plan={}", text(&dry, "plan")), &token, file.clone()).await;
        assert_eq!((status, &done["files"][0]["created"], &done["files"][0]["file"]), (200, &json!(1), &json!("up.csv")));
        assert_eq!(post("source=nowhere", &token, file.clone()).await.0, 422);
        let (status, again) = post("name=up.csv", &token, file.clone()).await;
        assert_eq!((status, &again["files"][0]["source"], &again["files"][0]["unchanged"]), (200, &json!("sales"), &json!(1)), "known by its header");
        assert_eq!(post("sauce=sales", &token, file.clone()).await.0, 400);
        let html = post("source=sales", &token, "<!doctype html><p>13812345670".to_owned()).await;
        assert!(html.0 == 422 && !html.1.to_string().contains("13812345670"), "{html:?}");
        let sales = home.tenant("globex").persona("sales").token().await;
        assert_eq!(post("source=sales", &sales, file.clone()).await.0, 403);
        assert_eq!(post("source=sales", "nobody", file).await.0, 401);
        assert!(found(&home, "nothing").await.is_null());
        home.sound().await;
    }
}
