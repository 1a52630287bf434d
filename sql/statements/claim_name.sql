-- The relay's name is stored at its first start; later starts under another name are refused.
UPDATE relay.identity SET name = $1 WHERE name IS NULL
