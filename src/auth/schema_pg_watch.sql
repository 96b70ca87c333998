CREATE OR REPLACE FUNCTION roost_directory_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_TABLE_NAME = 'alias' THEN
		PERFORM pg_notify('roost_directory', 'alias');
	ELSIF TG_LEVEL = 'STATEMENT' THEN
		PERFORM pg_notify('roost_directory', '');
	ELSIF TG_OP = 'INSERT' THEN
		PERFORM pg_notify('roost_directory', NEW.local || '@' || NEW.domain);
	ELSE
		PERFORM pg_notify('roost_directory', OLD.local || '@' || OLD.domain);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER roost_directory_changed AFTER INSERT OR DELETE OR UPDATE OF
	domain, local, password, quota_bytes, quota_messages, active, protocols, networks,
	max_connections, max_connections_per_ip, host, acl_groups
	ON mailbox FOR EACH ROW EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_emptied AFTER TRUNCATE
	ON mailbox FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER INSERT OR UPDATE OR DELETE
	ON quota FOR EACH ROW EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_emptied AFTER TRUNCATE
	ON quota FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON domain FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON domain_alias FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON alias FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
