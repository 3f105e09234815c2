-- As in the script that creates the extension: nothing of whoever updates it is to be found.
SET LOCAL search_path = pg_catalog, pg_temp;
