-- The session that approved a device's request: a session that the device gets proves no more than this one had proved.
ALTER TABLE device_requests ADD COLUMN approved_by TEXT
