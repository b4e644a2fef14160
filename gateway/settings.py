"""All settings of Atelier, read from the environment once.

Development works after a clone with nothing set. `ATELIER_ENV=production` refuses to start with a
default secret. Every variable is described in the README's configuration table; a test compares.
"""

from enum import StrEnum
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from gateway import env, logs


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where we run -------------------------------------------------------------------------------

ENVIRONMENT = env.choice("ATELIER_ENV", Environment, Environment.DEVELOPMENT)
IS_PRODUCTION = ENVIRONMENT == Environment.PRODUCTION
DATA_DIR = Path(env.text("ATELIER_DATA_DIR", str(BASE_DIR / ".atelier"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)
PUBLIC_URL = env.text("ATELIER_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.words("ATELIER_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]", "testserver"))
# Debug pages are HTML and show values, so they stay off even in development.
DEBUG = False

# --- Secrets ------------------------------------------------------------------------------------

DEVELOPMENT_SECRET = "development-only-anyone-can-read-this"  # noqa: S105
SECRET_KEY = env.text("ATELIER_SECRET_KEY", DEVELOPMENT_SECRET)
# Peppers of API keys by id; the first makes new digests, all verify.
KEY_PEPPERS = env.keys("ATELIER_KEY_PEPPER", DEVELOPMENT_SECRET)
# Secrets that wrap the workspaces' keyrings, by id; the first wraps new ones.
KEYRING_SECRETS = env.keys("ATELIER_KEYRING_SECRETS", SECRET_KEY)
STRIPE_API_KEY = env.text("STRIPE_API_KEY")
STRIPE_WEBHOOK_SECRETS = env.words("STRIPE_WEBHOOK_SECRETS")


def _refuse_unsafe_production() -> None:
    required = {
        "ATELIER_SECRET_KEY": SECRET_KEY != DEVELOPMENT_SECRET,
        "ATELIER_KEY_PEPPER": DEVELOPMENT_SECRET not in KEY_PEPPERS.values(),
        "ATELIER_ALLOWED_HOSTS": bool(env.words("ATELIER_ALLOWED_HOSTS")),
        "ATELIER_PUBLIC_URL": bool(env.text("ATELIER_PUBLIC_URL")),
        "STRIPE_WEBHOOK_SECRETS": bool(STRIPE_WEBHOOK_SECRETS) or not STRIPE_API_KEY,
    }
    missing = [name for name, is_set in required.items() if not is_set]
    if missing:
        raise ImproperlyConfigured(f"ATELIER_ENV=production needs {', '.join(missing)} to be set.")


if IS_PRODUCTION:
    _refuse_unsafe_production()

# --- Applications -------------------------------------------------------------------------------

INSTALLED_APPS = [
    "gateway",
    "accounts",
    "billing",
    "inference",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "gateway.api.middleware.RequestMiddleware",
    "gateway.api.middleware.PagesSecurity",
    "gateway.api.middleware.PagesSession",
    "gateway.api.middleware.PagesCommon",
    "gateway.api.middleware.PagesCsrf",
    "gateway.api.middleware.PagesAuthentication",
    "gateway.api.middleware.PagesMessages",
    "gateway.api.middleware.PagesFrameOptions",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "gateway.urls"
ASGI_APPLICATION = "gateway.asgi.application"
# Official clients post to paths without a slash, and a redirect would turn POST into GET.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False

# --- Database -----------------------------------------------------------------------------------

DATABASES = {"default": dj_database_url.config(default=f"sqlite:///{DATA_DIR / 'atelier.sqlite3'}")}
_database = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    _database["OPTIONS"] = {
        **_database.get("OPTIONS", {}),
        # A deferred transaction that turns from reading to writing fails with "database is locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
        # Else INSERT OR REPLACE would delete a row without firing its triggers.
        "PRAGMA recursive_triggers=ON;",
    }
else:
    _database["CONN_MAX_AGE"] = 0  # above 0 leaks connections under ASGI; the pool keeps them instead
    _database["CONN_HEALTH_CHECKS"] = True
    _database["OPTIONS"] = {
        **_database.get("OPTIONS", {}),  # what the URL asks for, such as sslmode
        # Statements are planned once per connection, which saves the database a third of accepting a job. In turn one
        # statement has at most 65,535 parameters: bulk writes name a batch size.
        "server_side_binding": True,
        "prepare_threshold": 5 if env.boolean("ATELIER_DB_PREPARE", True) else None,
        "pool": {
            "min_size": 1,
            "max_size": env.integer("ATELIER_DB_POOL", 16, least=1),
            "timeout": 10,
            "max_lifetime": 1800,
        },
    }

# Keys, limits and the catalogue stay in the process for so long, or until they change; 0 asks each time.
LOOKUP_SECONDS = 60
# When keys were last used is written so often; 0 leaves it to whoever asks.
KEY_USE_SECONDS = 30

# --- Redis and limits ---------------------------------------------------------------------------

REDIS_URL = env.text("REDIS_URL")
# Web processes that share the rate limits; without Redis each takes its share.
WEB_PROCESSES = env.integer("ATELIER_WEB_PROCESSES", 1, least=1)
TRUSTED_PROXIES = env.integer("ATELIER_TRUSTED_PROXIES", 0)
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "guards": {
        "BACKEND": "gateway.api.guard_cache.SharedCounts",
        "LOCATION": "guards",
        # Beyond this a third is dropped, so whoever has many addresses must not get there within a minute.
        "OPTIONS": {"MAX_ENTRIES": 200_000},
    },
}
RATELIMIT_USE_CACHE = "guards"

# --- People -------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "optional"
# By address `gateway.dashboard.entrance` counts, with a Retry-After; by account these go on counting.
ACCOUNT_RATE_LIMITS = {
    "login": None,
    "signup": None,
    "login_failed": "5/300s/key",
    "reset_password": "5/m/key",
}
ACCOUNT_ADAPTER = "gateway.dashboard.adapter.AccountAdapter"
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "account_login"
# Mails hold links that sign in, so production never prints them.
EMAIL_BACKEND = env.text(
    "ATELIER_EMAIL_BACKEND",
    f"django.core.mail.backends.{'smtp' if IS_PRODUCTION else 'console'}.EmailBackend",
)
EMAIL_TIMEOUT = 5  # seconds; without one a mail server that hangs would hold its caller for ever
DEFAULT_FROM_EMAIL = env.text("ATELIER_EMAIL_FROM", "Atelier <no-reply@localhost>")
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_CONTENT_TYPE_NOSNIFF = True
if env.boolean("ATELIER_BEHIND_TLS_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- HTTP API -----------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["gateway.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_THROTTLE_CLASSES": ["gateway.api.throttling.RateLimitThrottle"],
    "DEFAULT_PERMISSION_CLASSES": ["gateway.api.authentication.HasScope"],
    # Clients label JSON as anything and ask for anything; we read JSON and answer JSON.
    "DEFAULT_PARSER_CLASSES": ["gateway.api.parsers.AnyTypeJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "gateway.api.parsers.IgnoreAccept",
    "EXCEPTION_HANDLER": "gateway.api.errors.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Atelier API",
    "VERSION": "1",
    "DESCRIPTION": "Text-to-image generation with jobs, prices in credits, and problem+json errors.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SORT_OPERATIONS": False,  # the order of the addresses is the order of a reader's interest
    "ENUM_NAME_OVERRIDES": {
        "JobStateEnum": "inference.models.State",
        "KeyStateEnum": "accounts.key_management.State",
    },
    "PREPROCESSING_HOOKS": ["gateway.api.schema.only_native"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("ATELIER_MAX_BODY_BYTES", 1_000_000, least=1_000)
# Threads that accept jobs and threads that look; each holds a database connection while it works. A process computes
# on one core: with 4 threads that accept it took an eighth fewer jobs than with 2. A database far away wants more.
ACCEPT_THREADS = env.integer("ATELIER_ACCEPT_THREADS", 2, least=1)
READ_THREADS = env.integer("ATELIER_READ_THREADS", 6, least=1)
MAX_WAIT_SECONDS = env.integer("ATELIER_MAX_WAIT_SECONDS", 300, least=1)

# --- Making images ------------------------------------------------------------------------------

ENGINES: dict[str, dict[str, Any]] = {
    "diffusers": {"BACKEND": "inference.engine.diffusers.DiffusersEngine", "OPTIONS": {}},
    "fake": {"BACKEND": "inference.engine.fake.FakeEngine", "OPTIONS": {}},
}
DEFAULT_MODEL = env.text("ATELIER_DEFAULT_MODEL", "atelier-scenes")
MODEL_OWNER = "atelier"  # `owned_by` in model lists
ATELIER_MODERATION = {"BACKEND": "inference.moderation.blocklist.Blocklist", "OPTIONS": {}}


class Dispatch(StrEnum):
    INPROCESS = "inprocess"
    CELERY = "celery"


DISPATCH = env.choice(
    "ATELIER_DISPATCH", Dispatch, Dispatch.CELERY if env.text("CELERY_BROKER_URL") else Dispatch.INPROCESS
)
DISPATCHES: dict[str, dict[str, Any]] = {
    "inprocess": {"BACKEND": "inference.dispatch.InProcessDispatch", "OPTIONS": {}},
    "celery": {"BACKEND": "inference.dispatch.CeleryDispatch", "OPTIONS": {}},
}
# Jobs that one worker process takes at once; the engine decides which of them share a batch.
WORKER_THREADS = env.integer("ATELIER_WORKER_THREADS", 4, least=1)
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(DATA_DIR / "files")},
    },
    "images": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(DATA_DIR / "images")},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
FILE_URL_SECONDS = env.integer("ATELIER_FILE_URL_SECONDS", 3600, least=1)
CONTENT_RETENTION_DAYS = env.integer("ATELIER_CONTENT_RETENTION_DAYS", 30)
PICTURE_RETENTION_DAYS = env.integer("ATELIER_PICTURE_RETENTION_DAYS", 90)
JOB_RETENTION_DAYS = env.integer("ATELIER_JOB_RETENTION_DAYS", 180)

# --- Celery -------------------------------------------------------------------------------------

CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", "memory://")
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = WORKER_THREADS
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_TIMEOUT = 4
CELERY_BROKER_POOL_LIMIT = 4
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "confirm_publish": True,
    "confirm_timeout": 5,
    "read_timeout": 10,
    "write_timeout": 10,
    "socket_timeout": 10,
    "socket_connect_timeout": 4,
}
CELERY_BEAT_SCHEDULE = {
    "publish queued jobs": {"task": "inference.tasks.relay", "schedule": 1.0, "options": {"expires": 5}},
    "recover lost jobs": {"task": "inference.tasks.sweep", "schedule": 5.0, "options": {"expires": 15}},
    "send mails": {"task": "gateway.tasks.deliver_emails", "schedule": 5.0, "options": {"expires": 15}},
}

# --- Logs ---------------------------------------------------------------------------------------

LOGGING_CONFIG = None
LOG_FILE = env.text("ATELIER_LOG_FILE")
logs.configure(
    env.choice("ATELIER_LOG_FORMAT", logs.Format, logs.Format.JSON),
    env.text("ATELIER_LOG_LEVEL", "INFO"),
    LOG_FILE,
)
