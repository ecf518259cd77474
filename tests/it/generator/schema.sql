-- What the generator speaks about: two schemas of one search path, and names that trap a careless reader.

CREATE SCHEMA gen;
CREATE SCHEMA second;
SET search_path = gen, second, pg_catalog;

CREATE DOMAIN gen.email AS text CHECK (VALUE LIKE '%@%');
CREATE DOMAIN gen.positive AS integer CHECK (VALUE > 0);
CREATE TYPE gen.address AS (street text, city text, zip integer);
CREATE TYPE gen.contact AS (mail text, place gen.address, phones text[]);

CREATE TABLE gen.people (
    id integer PRIMARY KEY,
    name text,
    mail gen.email,
    ssn text UNIQUE,
    age gen.positive,
    home gen.address,
    tags text[],
    marks integer[],
    details jsonb,
    active boolean DEFAULT true,
    born date,
    made timestamptz DEFAULT now(),
    weight numeric,
    shown text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE TABLE gen.orders (
    id integer PRIMARY KEY,
    people_id integer REFERENCES gen.people,
    orders text,
    total numeric DEFAULT 0,
    made timestamptz,
    span int4range,
    note xml,
    UNIQUE (people_id, made)
);
-- Names that need their quotes, are cut, or are keywords.
CREATE TABLE gen."Mixed Case" (
    id integer,
    "select" text,
    "Order" integer,
    "a ""quoted"" name" text,
    "Ünïcode" text,
    this_name_is_exactly_sixty_three_bytes_long_and_one_more_is_cut integer,
    value integer,
    "user" text
);
CREATE TABLE gen.item (item integer, name text, people text, id bigint);
CREATE TABLE second.item (item text, secret text, id integer);
CREATE TABLE second.only_here (id integer, name text, secret text, made date);
-- Shadows what pg_catalog has, where the search path puts pg_catalog behind.
CREATE TABLE gen.pg_stats (tablename text, secret text, id integer);
CREATE TABLE gen.animals (id integer PRIMARY KEY, name text, legs integer);
CREATE TABLE gen.dogs (breed text, owner integer) INHERITS (gen.animals);
CREATE TABLE gen.events (id integer, kind text, who integer, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE gen.events_old PARTITION OF gen.events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE gen.events_new (at date NOT NULL, who integer, kind text, id integer);
ALTER TABLE gen.events ATTACH PARTITION gen.events_new FOR VALUES FROM ('2021-01-01') TO ('2030-01-01');
CREATE TABLE gen.contacts OF gen.contact;
CREATE TABLE gen.whole (id integer, person gen.people, how gen.contact);
CREATE TABLE gen.notes (id integer PRIMARY KEY, writer text DEFAULT current_user, body text, people_id integer);
ALTER TABLE gen.notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON gen.notes USING (writer = current_user);
-- A column that was there once.
CREATE TABLE gen.holes (a integer, gone text, b text, c integer);
ALTER TABLE gen.holes DROP COLUMN gone;
CREATE TABLE gen.log (at timestamptz DEFAULT now(), id integer, what text);

CREATE VIEW gen.adults AS SELECT id, name, mail AS contact, home FROM gen.people WHERE age > 17;
CREATE VIEW gen.adult_orders (who, contact, total) AS
SELECT a.name, a.contact, o.total FROM gen.adults a JOIN gen.orders o ON o.people_id = a.id;
CREATE VIEW gen.everything AS SELECT p AS person, o.* FROM gen.people p LEFT JOIN gen.orders o ON o.people_id = p.id;
CREATE VIEW gen.totals AS
SELECT people_id, sum(total) AS total, count(*) AS n FROM gen.orders GROUP BY people_id HAVING min(made) > '2000-01-01';
CREATE VIEW gen.both AS SELECT id, name FROM gen.people UNION ALL SELECT id, secret FROM second.only_here;
CREATE VIEW gen.joined AS SELECT id, name, ssn, secret, home FROM gen.people JOIN second.only_here USING (id, name);
CREATE VIEW gen.tree AS
WITH RECURSIVE t AS (SELECT id, owner FROM gen.dogs UNION ALL SELECT d.id, t.owner FROM gen.dogs d JOIN t ON t.id = d.owner)
SELECT * FROM t;
CREATE VIEW gen.simple AS SELECT id, name, ssn AS number FROM gen.people WITH CASCADED CHECK OPTION;
CREATE VIEW gen.ruled AS SELECT id, body FROM gen.notes;
CREATE RULE ruled_insert AS ON INSERT TO gen.ruled DO INSTEAD INSERT INTO gen.log (id, what) VALUES (NEW.id, NEW.body);
CREATE RULE ruled_update AS ON UPDATE TO gen.ruled DO INSTEAD
    UPDATE gen.log SET what = NEW.body FROM gen.people p WHERE log.id = OLD.id AND p.id = OLD.id;
CREATE RULE also_log AS ON DELETE TO gen.holes DO ALSO INSERT INTO gen.log (id, what) VALUES (OLD.a, OLD.b);
CREATE MATERIALIZED VIEW gen.kept AS SELECT p.id, p.name, p.ssn FROM gen.people p;

CREATE FUNCTION gen.full_name(gen.people) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.name || $1.shown';
CREATE FUNCTION gen.twice(x integer, y integer DEFAULT 2) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 * $2';
CREATE FUNCTION gen.mail_of(who integer) RETURNS text LANGUAGE sql STABLE
    AS 'SELECT mail FROM gen.people WHERE id = $1';
CREATE FUNCTION gen.secret_of(who integer) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = second
    AS 'SELECT secret FROM only_here WHERE id = $1';
CREATE FUNCTION gen.atomic(who integer) RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT ssn FROM gen.people WHERE id = who; END;
CREATE FUNCTION gen.orders_of(who integer) RETURNS SETOF gen.orders LANGUAGE sql STABLE
    AS 'SELECT * FROM gen.orders WHERE people_id = $1';
CREATE FUNCTION gen.person(who integer) RETURNS gen.people LANGUAGE sql STABLE
    AS 'SELECT * FROM gen.people WHERE id = $1';
CREATE FUNCTION gen.pairs(who integer) RETURNS TABLE (k integer, v text) LANGUAGE sql STABLE
    AS 'SELECT id, body FROM gen.notes WHERE people_id = $1';
CREATE FUNCTION gen.two(INOUT a integer, OUT b text) LANGUAGE sql STABLE AS 'SELECT $1, kind FROM gen.events LIMIT 1';
CREATE FUNCTION gen.longest(VARIADIC names text[]) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT max(n) FROM unnest($1) n';
CREATE FUNCTION gen.first(anyelement, anyelement) RETURNS anyelement LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, $2)';
CREATE FUNCTION gen.lower(text) RETURNS text LANGUAGE sql STABLE AS 'SELECT b FROM gen.holes LIMIT 1';
CREATE FUNCTION gen.close_to(text, integer) RETURNS boolean LANGUAGE sql STABLE
    AS 'SELECT EXISTS (SELECT FROM gen.animals WHERE name = $1 AND legs = $2)';
CREATE OPERATOR gen.=~= (LEFTARG = text, RIGHTARG = integer, FUNCTION = gen.close_to);
CREATE FUNCTION gen.as_text(gen.address) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1.city';
CREATE CAST (gen.address AS text) WITH FUNCTION gen.as_text(gen.address);
CREATE AGGREGATE gen.joined_text(text) (SFUNC = textcat, STYPE = text, INITCOND = '');

GRANT USAGE ON SCHEMA gen, second TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA gen TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA second TO PUBLIC;
