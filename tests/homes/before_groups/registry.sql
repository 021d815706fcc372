BEGIN TRANSACTION;
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL
);
INSERT INTO "audit" VALUES(1,1.79527919815186786647e+09,'root (command line)','home.created','server.crt','{}');
INSERT INTO "audit" VALUES(2,1.79527919914908123009e+09,'root (command line)','device.added','jwt-es','{"auth":"jwt-es256","groups":"meters"}');
INSERT INTO "audit" VALUES(3,1.79527919977939653395e+09,'root (command line)','device.added','jwt-rs','{"auth":"jwt-rs256","rules":"device:jwt-rs: allow publish alerts/${device}"}');
INSERT INTO "audit" VALUES(4,1.79527920022394704823e+09,'root (command line)','device.added','cert','{"auth":"x509","groups":"meters, hall","rules":"device:cert: allow receive devices/+/state"}');
INSERT INTO "audit" VALUES(5,1.79527920096813845638e+09,'root (command line)','device.added','pass','{"auth":"password","rules":"device:pass: allow receive plan/#"}');
INSERT INTO "audit" VALUES(6,1.7952792016455695629e+09,'root (command line)','device.added','scram','{"auth":"scram-sha-256"}');
INSERT INTO "audit" VALUES(7,1.79527920287532138823e+09,'root (command line)','device.added','blocked','{"auth":"password"}');
INSERT INTO "audit" VALUES(8,1.79527920394388270375e+09,'root (command line)','device.added','revoked','{"auth":"x509"}');
INSERT INTO "audit" VALUES(9,1.79527920528084111218e+09,'root (command line)','device.added','removed','{"auth":"password"}');
INSERT INTO "audit" VALUES(10,1.79527920610687422749e+09,'root (command line)','rule.added','group:meters','{"rule":"group:meters: allow publish meters/${device}/# up to QoS 1 without retain (rule 4)"}');
INSERT INTO "audit" VALUES(11,1.79527920610799407961e+09,'root (command line)','rule.added','group:meters','{"rule":"group:meters: allow receive meters/all up to QoS 1 (rule 5)"}');
INSERT INTO "audit" VALUES(12,1.79527920683637976645e+09,'root (command line)','rule.added','everyone','{"rule":"everyone: deny publish meters/forbidden/# (rule 6)"}');
INSERT INTO "audit" VALUES(13,1.79527920684071946137e+09,'root (command line)','rule.added','everyone','{"rule":"everyone: deny receive secret/# (rule 7)"}');
INSERT INTO "audit" VALUES(14,1.79527920753424978256e+09,'root (command line)','rule.added','device:pass','{"rule":"device:pass: allow publish plan/today (rule 8)"}');
INSERT INTO "audit" VALUES(15,1.79527920854000926022e+09,'root (command line)','group.left','cert','{"group":"hall"}');
INSERT INTO "audit" VALUES(16,1.79527921184106397625e+09,'root (command line)','device.blocked','blocked','{}');
INSERT INTO "audit" VALUES(17,1.79527921337305188184e+09,'root (command line)','device.revoked','revoked','{"credentials":"1"}');
INSERT INTO "audit" VALUES(18,1.79527921532191658024e+09,'root (command line)','device.removed','removed','{}');
INSERT INTO "audit" VALUES(19,1.79527921968113613132e+09,'root (command line)','server_certificate.issued','server.crt','{}');
CREATE TABLE change (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL
);
INSERT INTO "change" VALUES(1,'server-certificate','server.crt');
INSERT INTO "change" VALUES(2,'device','jwt-es');
INSERT INTO "change" VALUES(3,'rule','device:jwt-rs');
INSERT INTO "change" VALUES(4,'device','jwt-rs');
INSERT INTO "change" VALUES(5,'rule','device:cert');
INSERT INTO "change" VALUES(6,'device','cert');
INSERT INTO "change" VALUES(7,'rule','device:pass');
INSERT INTO "change" VALUES(8,'device','pass');
INSERT INTO "change" VALUES(9,'device','scram');
INSERT INTO "change" VALUES(10,'device','blocked');
INSERT INTO "change" VALUES(11,'device','revoked');
INSERT INTO "change" VALUES(12,'device','removed');
INSERT INTO "change" VALUES(13,'rule','group:meters');
INSERT INTO "change" VALUES(14,'rule','group:meters');
INSERT INTO "change" VALUES(15,'rule','everyone');
INSERT INTO "change" VALUES(16,'rule','everyone');
INSERT INTO "change" VALUES(17,'rule','device:pass');
INSERT INTO "change" VALUES(18,'device','cert');
INSERT INTO "change" VALUES(19,'device','blocked');
INSERT INTO "change" VALUES(20,'device','revoked');
INSERT INTO "change" VALUES(21,'device','removed');
INSERT INTO "change" VALUES(22,'server-certificate','server.crt');
CREATE TABLE credential (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    public TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    is_revoked INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "credential" VALUES(1,'jwt-es','jwt-es256','-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2tJfEFbB3EPp4k0Yr9xk/icWfm47
1lAgMOIKy4iWmG0bKz4owFHj64uN8kOVOxpxWYFEFyc3E8RVB9znJo/gSQ==
-----END PUBLIC KEY-----
','60e93399dbac063aad19bb8f091d77947bddbd69cb0e0727f651a54841eef3f0',1.79527919914908123009e+09,NULL,0);
INSERT INTO "credential" VALUES(2,'jwt-rs','jwt-rs256','-----BEGIN PUBLIC KEY-----
MIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEAhdzXLHMjpn8yNO05JOxp
HFsfL6zn9nZgo6GuX+6JTT0y6+mYDleNJwe2d3ySCrl/f46TdZaJLzNBDc3eCtzR
E9mwnTezbkFYfs7KQ7Fdpcs1LgE2+ns29kY9JzIDwzuKM34pbq8Fgf+xCh+cxbg2
nEmlvlhCB69tMwHzDjq3DXGRiLh4wRiwyGzR3Gf80CzqlWJOUYc/LjfgQSOoE63J
dz6u4SacjTui7KbNIsgm/0b5MWXMXHJHFKFMn0EgZ99iP2fXWaouJKbVWwhcdi3d
ljDPM1o8xZbZhXqGwgIQ/OxJG+x7LTuSyZUKKNqeZH3DDPIZxLA4fruJf585mQmR
U/v7WkewmT6oxrQP9eIn7jzkTaluk+335N6LfM6Gmie6XxAEPnJwMN1F2aW1xRdu
xYdhMHHLZZhgYJasiR7jvW1HPEU9aB7HW4mjPVJIOzaP5bo9rcM1cp53nEKOLv2l
YFz70n1doaW6V0efxRpqII4RQpeZInjc9K58heKthS0PAgMBAAE=
-----END PUBLIC KEY-----
','194d892cbf0d34eb1681b572539c494cc7a7a68555f2aa16ffdbf550d3df2509',1.79527919977939653395e+09,NULL,0);
INSERT INTO "credential" VALUES(3,'cert','x509','-----BEGIN CERTIFICATE-----
MIIB0DCCAXagAwIBAgIUWypF3DmLgfb/Uh9r9h1YA9yCAnAwCgYIKoZIzj0EAwIw
IzEhMB8GA1UEAwwYbG9ja2dhdGUgaXNzdWluZyBDQSA3MjU2MB4XDTI2MTEyMTE1
NDAwMFoXDTM2MTExODE2Mzk1OFowDzENMAsGA1UEAwwEY2VydDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABETuPEq0A07WtbbHHOO7FpZCZO7wQcij8atA9XxJm5F8
MHDT2O1lUlETG0GxGCIB5boSiPjolOXi0zkwTWj2HiyjgZswgZgwHQYDVR0OBBYE
FJO+KKX/jtOPHb+ha2L2LAQCsJP+MAwGA1UdEwEB/wQCMAAwDgYDVR0PAQH/BAQD
AgeAMBMGA1UdJQQMMAoGCCsGAQUFBwMCMCMGA1UdEQQcMBqGGHVybjpsb2NrZ2F0
ZTpkZXZpY2U6Y2VydDAfBgNVHSMEGDAWgBTSp8ddkTsQJF1sWxfw33Ymv9JFPTAK
BggqhkjOPQQDAgNIADBFAiAMrzsT57PVI3fvuHjXvoO3aQRaa3mg7Y0WJT9m6Oha
0wIhAOV2cWu4aPjpeh1lAmmOhm56BJrSXlK/Su14SPEAskbD
-----END CERTIFICATE-----
','34c5d82e818639cda868d931fb49f81c4d130732b627b97909ba39a82fee014c',1.79527920022394704823e+09,2110639198.0,0);
INSERT INTO "credential" VALUES(4,'pass','password','$argon2id$v=19$m=65536,t=3,p=4$+3/mbmEtwGMwwsc++dS34Q$h0x3opt8tIQMC3anyHEzspc+7aivwEHG+571kUIGSIQ','',1.79527920096813845638e+09,NULL,0);
INSERT INTO "credential" VALUES(5,'scram','scram-sha-256','SCRAM-SHA-256$15000:l9D7gdpfZZZ1HmerVdMZSRiTtpE4m+M4mo5WDzJaphE=$aE0NxpwTXXC6ev7f/ykM6E2TkLGh/UpfvwwnRyi/edQ=:lIbhx6HnmhJbYdaedhhlljlJiSakjDLeoHlOMZEcKMU=','',1.7952792016455695629e+09,NULL,0);
INSERT INTO "credential" VALUES(6,'blocked','password','$argon2id$v=19$m=65536,t=3,p=4$SYcXT0LUxt8U2TmkTZxiYg$6/61KFrxCCWLhaSrP1qzfjzJvvWAvp7mD9jNPk9Pgzc','',1.79527920287532138823e+09,NULL,0);
INSERT INTO "credential" VALUES(7,'revoked','x509','-----BEGIN CERTIFICATE-----
MIIB1zCCAXygAwIBAgIUJ9G4QhzR/w/R5Dg+zN2zgoFAY+MwCgYIKoZIzj0EAwIw
IzEhMB8GA1UEAwwYbG9ja2dhdGUgaXNzdWluZyBDQSA3MjU2MB4XDTI2MTEyMTE1
NDAwM1oXDTM2MTExODE2Mzk1OFowEjEQMA4GA1UEAwwHcmV2b2tlZDBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABBJK/3vc6YYZZ57u1IyDvmr0EtXBMWksjRzsSjsR
rCTphRBKuM7VnYHsE/MhJ+wW0IhZkbDe0sA16T9Uolu6ZISjgZ4wgZswHQYDVR0O
BBYEFLaVPi/ZV/XZI1mci+sQm85m26piMAwGA1UdEwEB/wQCMAAwDgYDVR0PAQH/
BAQDAgeAMBMGA1UdJQQMMAoGCCsGAQUFBwMCMCYGA1UdEQQfMB2GG3Vybjpsb2Nr
Z2F0ZTpkZXZpY2U6cmV2b2tlZDAfBgNVHSMEGDAWgBTSp8ddkTsQJF1sWxfw33Ym
v9JFPTAKBggqhkjOPQQDAgNJADBGAiEA5RqabhcID7zXMRl/2uEZ5t1D2ODuEt6R
VaYQY8o7nfACIQDU7mleGMmqhifha8BTdKNPq4h2fwdfVQI+9yhj6P/9Cw==
-----END CERTIFICATE-----
','5cd6ec6f2d7fab9e982d3abb9fe49a770632509899bf660804240b9391503bd9',1.79527920394388270375e+09,2110639198.0,1);
CREATE TABLE device (
    name TEXT PRIMARY KEY,
    is_blocked INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "device" VALUES('blocked',1,1.79527920287532138823e+09);
INSERT INTO "device" VALUES('cert',0,1.79527920022394704823e+09);
INSERT INTO "device" VALUES('jwt-es',0,1.79527919914908123009e+09);
INSERT INTO "device" VALUES('jwt-rs',0,1.79527919977939653395e+09);
INSERT INTO "device" VALUES('pass',0,1.79527920096813845638e+09);
INSERT INTO "device" VALUES('revoked',0,1.79527920394388270375e+09);
INSERT INTO "device" VALUES('scram',0,1.7952792016455695629e+09);
CREATE TABLE log_mark (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    mark BLOB NOT NULL,
    previous BLOB NOT NULL
);
INSERT INTO "log_mark" VALUES(1,X'2C24E7829F88B244',X'E11D7A5DB7E25A6D');
CREATE TABLE membership (
    device TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    group_name TEXT NOT NULL,
    PRIMARY KEY (device, group_name)
) WITHOUT ROWID;
INSERT INTO "membership" VALUES('cert','meters');
INSERT INTO "membership" VALUES('jwt-es','meters');
CREATE TABLE rule (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    operation TEXT NOT NULL,
    filter TEXT NOT NULL,
    effect TEXT NOT NULL,
    max_qos INTEGER NOT NULL,
    retain INTEGER NOT NULL
);
INSERT INTO "rule" VALUES(1,'device:jwt-rs','publish','alerts/${device}','allow',2,1);
INSERT INTO "rule" VALUES(2,'device:cert','receive','devices/+/state','allow',2,1);
INSERT INTO "rule" VALUES(3,'device:pass','receive','plan/#','allow',2,1);
INSERT INTO "rule" VALUES(4,'group:meters','publish','meters/${device}/#','allow',1,0);
INSERT INTO "rule" VALUES(5,'group:meters','receive','meters/all','allow',1,1);
INSERT INTO "rule" VALUES(6,'everyone','publish','meters/forbidden/#','deny',2,1);
INSERT INTO "rule" VALUES(7,'everyone','receive','secret/#','deny',2,1);
INSERT INTO "rule" VALUES(8,'device:pass','publish','plan/today','allow',2,1);
CREATE INDEX credential_device ON credential (device);
CREATE INDEX credential_thumbprint ON credential (thumbprint) WHERE thumbprint <> '';
CREATE INDEX membership_group ON membership (group_name);
CREATE INDEX rule_subject ON rule (subject);
CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('change',22);
INSERT INTO "sqlite_sequence" VALUES('audit',19);
INSERT INTO "sqlite_sequence" VALUES('credential',8);
INSERT INTO "sqlite_sequence" VALUES('rule',8);
COMMIT;
PRAGMA application_id = 1279742533;
PRAGMA user_version = 2;
