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

{{/* The workers alone, of all pods of a release. */}}
{{- define "fetch-etl.workerSelector" -}}
{{ include "fetch-etl.selector" . }}
app.kubernetes.io/component: worker
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

{{/* Where a pod runs and as whom, the same for the workers, the migration and the check. */}}
{{- define "fetch-etl.scheduling" -}}
automountServiceAccountToken: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* What the pods that end are called besides: a sidecar of a mesh would keep them from ending. */}}
{{- define "fetch-etl.jobLabels" -}}
{{- with merge (dict) .Values.jobs.podLabels .Values.podLabels }}
{{- toYaml . }}
{{- end }}
{{- end -}}

{{- define "fetch-etl.jobAnnotations" -}}
{{- with merge (dict) .Values.jobs.podAnnotations .Values.podAnnotations }}
{{- toYaml . }}
{{- end }}
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
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
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
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where every pod of a release may go. */}}
{{- define "fetch-etl.egress" -}}
# Names.
- ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
# AWS.
- ports:
    - protocol: TCP
      port: 443
  {{- with .Values.networkPolicy.awsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
# The database.
- ports:
    - protocol: TCP
      port: {{ .Values.networkPolicy.databasePort }}
  {{- with .Values.networkPolicy.databaseTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
