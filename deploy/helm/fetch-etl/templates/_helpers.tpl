{{/* The name of everything that this release makes: its own, which says fetch-etl or is told apart by it. */}}
{{- define "fetch-etl.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fetch-etl.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fetch-etl.labels" -}}
{{ include "fetch-etl.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "fetch-etl.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "fetch-etl.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "fetch-etl.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What each pod may not do. */}}
{{- define "fetch-etl.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "fetch-etl.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The worker's environment: what the chart decides. */}}
{{- define "fetch-etl.env" -}}
- name: ETL_TELEMETRY__LISTEN
  value: {{ printf "0.0.0.0:%d" (int .Values.port) | quote }}
- name: ETL_PIPELINE__SHUTDOWN_GRACE_S
  value: {{ .Values.shutdownGraceSeconds | quote }}
- name: ETL_SINK__DATABASE_URL_FILE
  value: /run/secrets/etl/database-url
{{- if .Values.secrets.maskingKey.name }}
- name: ETL_MASKING__KEY_FILE
  value: /run/secrets/etl/masking-key
{{- end }}
{{- if .Values.migration.enabled }}
- name: ETL_SINK__MIGRATE
  value: "false"
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fetch-etl.volumeMounts" -}}
- name: config
  mountPath: /etc/etl
  readOnly: true
- name: secrets
  mountPath: /run/secrets/etl
  readOnly: true
{{- end -}}

{{- define "fetch-etl.volumes" -}}
- name: config
  configMap:
    name: {{ include "fetch-etl.fullname" . }}
- name: secrets
  projected:
    # For the pod's group; nobody else is told.
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .Values.secrets.databaseUrl.name }}
          items:
            - key: {{ .Values.secrets.databaseUrl.key }}
              path: database-url
      {{- if .Values.secrets.maskingKey.name }}
      - secret:
          name: {{ .Values.secrets.maskingKey.name }}
          items:
            - key: {{ .Values.secrets.maskingKey.key }}
              path: masking-key
      {{- end }}
{{- end -}}
