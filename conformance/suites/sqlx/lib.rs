//! What sqlx's tests call and its crate does not carry: connections, and a test for each type from a list of literals
//! and the values that they stand for.

use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database, Pool};

pub fn setup_if_needed() {
    let _ = dotenvy::dotenv();
    let _ = env_logger::builder().is_test(true).try_init();
}

pub async fn new<DB: Database>() -> anyhow::Result<DB::Connection> {
    setup_if_needed();
    Ok(DB::Connection::connect(&dotenvy::var("DATABASE_URL")?).await?)
}

pub async fn pool<DB: Database>() -> anyhow::Result<Pool<DB>> {
    setup_if_needed();
    let options = PoolOptions::<DB>::new().min_connections(0).max_connections(5).test_before_acquire(true);
    Ok(options.connect(&dotenvy::var("DATABASE_URL")?).await?)
}

/// A value that is sent and read back, and read from a literal in either protocol.
#[macro_export]
macro_rules! test_type {
    ($name:ident<$type:ty>($db:ident, $sql:literal, $($text:literal == $value:expr),+ $(,)?)) => {
        $crate::test_prepared_type!($name<$type>($db, $sql, $($text == $value),+));
        $crate::test_unprepared_type!($name<$type>($db, $($text == $value),+));
    };
    ($name:ident<$type:ty>($db:ident, $($text:literal == $value:expr),+ $(,)?)) => {
        $crate::test_prepared_type!($name<$type>($db, $($text == $value),+));
        $crate::test_unprepared_type!($name<$type>($db, $($text == $value),+));
    };
    ($name:ident($db:ident, $($text:literal == $value:expr),+ $(,)?)) => {
        $crate::test_type!($name<$name>($db, $($text == $value),+));
    };
}

/// A value that is only read.
#[macro_export]
macro_rules! test_decode_type {
    ($name:ident<$type:ty>($db:ident, $($text:literal == $value:expr),+ $(,)?)) => {
        $crate::test_unprepared_type!($name<$type>($db, $($text == $value),+));
        paste::item! {
            #[sqlx::test]
            async fn [< decodes_prepared_ $name >]() -> anyhow::Result<()> {
                let mut connection = sqlx_test::new::<$db>().await?;
                $({
                    let text = format!("SELECT {} AS read, 1 AS one", $text);
                    let (read, _): ($type, i32) = sqlx::query_as(&text).fetch_one(&mut connection).await?;
                    assert_eq!(read, $value);
                })+
                Ok(())
            }
        }
    };
}

#[macro_export]
macro_rules! test_unprepared_type {
    ($name:ident<$type:ty>($db:ident, $($text:literal == $value:expr),+ $(,)?)) => {
        paste::item! {
            #[sqlx::test]
            async fn [< unprepared_ $name >]() -> anyhow::Result<()> {
                use sqlx::{Executor as _, Row as _};
                let mut connection = sqlx_test::new::<$db>().await?;
                $({
                    let text = format!("SELECT {} AS read", $text);
                    let row = connection.fetch_one(&*text).await?;
                    let read = row.try_get::<$type, _>("read")?;
                    assert!($value == read);
                })+
                Ok(())
            }
        }
    };
}

#[macro_export]
macro_rules! test_prepared_type {
    ($name:ident<$type:ty>($db:ident, $($text:literal == $value:expr),+ $(,)?)) => {
        $crate::test_prepared_type!($name<$type>($db,
            "SELECT ({0} IS NOT DISTINCT FROM $1)::int4, {0} AS read, $2 AS sent", $($text == $value),+));
    };
    ($name:ident<$type:ty>($db:ident, $sql:literal, $($text:literal == $value:expr),+ $(,)?)) => {
        paste::item! {
            #[sqlx::test]
            async fn [< prepared_ $name >]() -> anyhow::Result<()> {
                use sqlx::Row as _;
                let mut connection = sqlx_test::new::<$db>().await?;
                $({
                    let text = format!($sql, $text);
                    let row = sqlx::query(&text).bind($value).bind($value).fetch_one(&mut connection).await?;
                    let same: i32 = row.try_get(0)?;
                    assert_eq!(same, 1, "the server reads something else in {}", $text);
                    let read: $type = row.try_get(1)?;
                    assert!($value == read);
                    let sent: $type = row.try_get(2)?;
                    assert!($value == sent);
                })+
                Ok(())
            }
        }
    };
}
