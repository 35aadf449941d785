//! Every SQL text of the store is found in its source and prepared against a migrated database;
//! both engines have the same schema, and the migrations on disk are the embedded ones.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sqlx::{Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection};
use syn::visit::{self, Visit};

use crate::support::ledger::Ledger;

/// What a file says about SQL.
#[derive(Default)]
struct Found {
    /// The text of each `const NAME: &str`.
    texts: BTreeMap<String, String>,
    /// What `query*(` and `raw_sql(` are called with: the name of a constant, or none.
    calls: Vec<Option<String>>,
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        if let syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) = &*item.expr
        {
            self.texts.insert(item.ident.to_string(), text.value());
        }
        visit::visit_item_const(self, item);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func {
            let name = &function.path.segments.last().unwrap().ident.to_string();
            if name.starts_with("query") || name == "raw_sql" {
                self.calls.push(call.args.first().and_then(constant));
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        // A transaction may begin with a text of its own.
        if call.method == "begin_with" {
            self.calls.push(call.args.first().and_then(constant));
        }
        visit::visit_expr_method_call(self, call);
    }
}

/// The name of the constant that an expression is, if it is one.
fn constant(expr: &syn::Expr) -> Option<String> {
    let syn::Expr::Path(path) = expr else {
        return None;
    };
    let name = path.path.segments.last()?.ident.to_string();
    let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(upper).then_some(name)
}

fn scan(source: &str) -> Found {
    let mut found = Found::default();
    found.visit_file(&syn::parse_file(source).unwrap());
    found
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files
}

/// The SQL of an engine, by name. A constant that no query uses is no SQL.
pub(crate) fn statements(engine: &str) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut used = Vec::new();
    for file in sources(&root("src/store").join(engine)) {
        let found = scan(&fs::read_to_string(&file).unwrap());
        for (name, text) in found.texts {
            assert!(
                texts.insert(name.clone(), text).is_none(),
                "{name} stands twice in {engine}"
            );
        }
        for call in found.calls {
            used.push(call.unwrap_or_else(|| panic!("{} queries without a const", file.display())));
        }
    }
    texts.retain(|name, _| used.contains(name));
    for name in used {
        assert!(texts.contains_key(&name), "{engine}: {name} is no text");
    }
    // `begin` and `rollback` are not for preparing.
    texts.retain(|_, text| !text.starts_with("begin") && text != "rollback");
    texts
}

async fn prepare_all<C>(db: &mut C, statements: &BTreeMap<String, String>) -> Vec<String>
where
    for<'c> &'c mut C: Executor<'c>,
{
    let mut refused = Vec::new();
    for (name, text) in statements {
        let sql = sqlx::AssertSqlSafe(text.clone()).into_sql_str();
        if let Err(error) = (&mut *db).prepare(sql).await {
            refused.push(format!("{name}: {error}"));
        }
    }
    refused
}

fn with_a_bad_one(mut statements: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let bad = "select nope from runs where id = $1";
    statements.insert("PLANTED".into(), bad.into());
    statements
}

#[tokio::test]
async fn sqlite_prepares_every_statement() {
    let ledger = Ledger::sqlite().await;
    let mut db = SqliteConnection::connect(&ledger.url).await.unwrap();
    let statements = statements("sqlite");
    assert!(statements.len() > 40, "{}", statements.len());
    assert_eq!(prepare_all(&mut db, &statements).await, [""; 0]);
    let refused = prepare_all(&mut db, &with_a_bad_one(statements)).await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("PLANTED: "), "{refused:?}");
}

#[tokio::test]
async fn postgres_prepares_every_statement() {
    let ledger = Ledger::postgres().await;
    let mut db = PgConnection::connect(&ledger.url).await.unwrap();
    let statements = statements("postgres");
    assert!(statements.len() > 40, "{}", statements.len());
    assert_eq!(prepare_all(&mut db, &statements).await, [""; 0]);
    let refused = prepare_all(&mut db, &with_a_bad_one(statements)).await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("PLANTED: "), "{refused:?}");
    ledger.remove().await;
}

#[test]
fn queries_elsewhere_in_the_store_are_none() {
    for file in sources(&root("src/store")) {
        let in_an_engine = ["postgres", "sqlite"]
            .iter()
            .any(|engine| file.starts_with(root("src/store").join(engine)));
        let found = scan(&fs::read_to_string(&file).unwrap());
        assert!(in_an_engine || found.calls.is_empty(), "{}", file.display());
    }
}

#[test]
fn a_query_without_a_constant_is_noticed() {
    let found =
        scan(r#"fn f() { sqlx::query("select 1"); query_as::<_, X>(SQL); query_scalar(text); }"#);
    assert_eq!(found.calls, [None, Some("SQL".into()), None]);
    let found = scan("const A: &str = r#\"select \"a\"\"#; const B: u32 = 1;");
    assert_eq!(found.texts["A"], r#"select "a""#);
    assert_eq!(found.texts.len(), 1);
}

fn migrations(engine: &str) -> Vec<String> {
    let files = fs::read_dir(root("migrations").join(engine)).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn migrations_on_disk_are_those_embedded() {
    let names = migrations("sqlite");
    assert_eq!(names, migrations("postgres"));
    // An empty database lacks every one that is embedded.
    let (sqlite, postgres) = (Ledger::sqlite().await, Ledger::postgres().await);
    for ledger in [sqlite, postgres] {
        ledger.execute("drop table _sqlx_migrations").await;
        let missing = ledger.store.missing_migrations().await.unwrap();
        assert_eq!(missing, names.len());
        ledger.remove().await;
    }
}

#[tokio::test]
async fn both_engines_have_the_same_columns() {
    let (sqlite, postgres) = (Ledger::sqlite().await, Ledger::postgres().await);
    let mut db = SqliteConnection::connect(&sqlite.url).await.unwrap();
    let one: Vec<(String, String, bool)> = sqlx::query_as(
        "select t.name, c.name, c.\"notnull\" = 0 and c.pk = 0
           from sqlite_master as t join pragma_table_info(t.name) as c
          where t.type = 'table' and t.name not like '_sqlx%'
          order by 1, 2",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    let mut db = PgConnection::connect(&postgres.url).await.unwrap();
    let other: Vec<(String, String, bool)> = sqlx::query_as(
        "select table_name::text collate \"C\", column_name::text collate \"C\", is_nullable = 'YES'
           from information_schema.columns
          where table_schema = 'public' and table_name not like '\\_sqlx%'
          order by 1, 2",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert!(one.len() > 60);
    assert_eq!(one, other);
    let uncommented: Vec<String> = sqlx::query_scalar(
        "select c.relname || '.' || a.attname
           from pg_attribute a join pg_class c on c.oid = a.attrelid
          where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0
            and c.relname not like '\\_sqlx%'
            and col_description(c.oid, a.attnum) is null",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert_eq!(uncommented, [""; 0]);
    drop(db);
    postgres.remove().await;
}
