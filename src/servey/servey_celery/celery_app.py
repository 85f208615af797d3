"""The Celery app of a service that is configured by the environment.

celery -A servey.servey_celery.celery_app worker
celery -A servey.servey_celery.celery_app beat
"""

from servey.servey_celery.app import create_celery
from servey.servey_celery.programs import log_as_servey
from servey.service import Service

_service = Service.from_settings()
app = create_celery(_service)
log_as_servey(_service.settings.process.log_level)
