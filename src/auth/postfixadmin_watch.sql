-- Run once by the owner of PostfixAdmin's tables in PostgreSQL: from then on roost-auth hears of
-- changed passwords, quotas and switched off accounts and domains at once.
CREATE OR REPLACE FUNCTION roost_directory_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_LEVEL = 'STATEMENT' THEN
		PERFORM pg_notify('roost_directory', '');
	ELSE
		PERFORM pg_notify('roost_directory', OLD.username);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER roost_directory_changed AFTER DELETE OR UPDATE OF username, password, quota, active
	ON mailbox FOR EACH ROW EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER DELETE OR UPDATE OF domain, backupmx, active
	ON domain FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
CREATE TRIGGER roost_directory_changed AFTER INSERT OR UPDATE OR DELETE
	ON alias_domain FOR EACH STATEMENT EXECUTE FUNCTION roost_directory_changed();
