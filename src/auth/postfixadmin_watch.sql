-- Run by the owner of PostfixAdmin's tables in PostgreSQL, once, and again after an update of Roost:
-- from then on roost-auth hears at once of what is changed there, and remembers whom mail may go to.
CREATE OR REPLACE FUNCTION roost_directory_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_TABLE_NAME = 'alias' THEN
		PERFORM pg_notify('roost_directory', 'alias');
	ELSIF TG_LEVEL = 'STATEMENT' THEN
		PERFORM pg_notify('roost_directory', '');
	ELSIF TG_OP = 'INSERT' THEN
		PERFORM pg_notify('roost_directory', NEW.username);
	ELSE
		PERFORM pg_notify('roost_directory', OLD.username);
	END IF;
	RETURN NULL;
END
$$;
BEGIN;
DROP TRIGGER IF EXISTS roost_directory_changed ON mailbox;
DROP TRIGGER IF EXISTS roost_directory_emptied ON mailbox;
DROP TRIGGER IF EXISTS roost_directory_changed ON domain;
DROP TRIGGER IF EXISTS roost_directory_changed ON alias_domain;
DROP TRIGGER IF EXISTS roost_directory_changed ON alias;
CREATE TRIGGER roost_directory_changed
	AFTER INSERT OR DELETE OR UPDATE OF username, password, quota, active, domain, local_part
	ON mailbox FOR EACH ROW EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_emptied AFTER TRUNCATE
	ON mailbox FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed
	AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF domain, backupmx, active
	ON domain FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON alias_domain FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON alias FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
COMMIT;
