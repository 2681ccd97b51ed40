{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "flowd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "flowd.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "flowd.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "flowd.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "flowd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "flowd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "flowd.labels" -}}
{{ include "flowd.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What the mode has of its own: config, resources. */}}
{{- define "flowd.config" -}}
{{- (index .Values .Values.mode).config | toPrettyJson -}}
{{- end -}}

{{/* The pod's annotations: a changed configuration is another pod. */}}
{{- define "flowd.podAnnotations" -}}
checksum/config: {{ include "flowd.config" . | sha256sum }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The container, but for what tells the two modes apart: probes and mounts. */}}
{{- define "flowd.container" -}}
name: flowd
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [/usr/sbin/flowd, -c, /etc/flowd/config.json]
securityContext:
  runAsUser: 0
  runAsGroup: 0
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    add: [BPF, PERFMON, NET_ADMIN]
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index .Values .Values.mode).config.backends.prometheus }}
ports:
  - name: metrics
    containerPort: {{ int (default 9000 .port) }}
{{- end }}
resources:
  {{- toYaml (index .Values .Values.mode).resources | nindent 2 }}
{{- end -}}

{{/* Of the pod's specification, what says where it runs, and as whom. */}}
{{- define "flowd.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with index .Values .Values.mode }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where the API answers on the loopback: what listens on all addresses does so there. */}}
{{- define "flowd.apiHost" -}}
{{- $address := default "127.0.0.1" (index .Values .Values.mode).config.plugins.api.bindAddress -}}
{{- if has $address (list "::" "0.0.0.0") -}}127.0.0.1{{- else -}}{{ $address }}{{- end -}}
{{- end -}}

{{/* flowctl, as a probe calls it: with the API's address where that is another one than flowctl's own. */}}
{{- define "flowd.flowctl" -}}
{{- $host := include "flowd.apiHost" . -}}
{{- $url := printf "http://%s:%d" (ternary (printf "[%s]" $host) $host (contains ":" $host)) (int (default 7777 (index .Values .Values.mode).config.plugins.api.bindPort)) -}}
/usr/bin/flowctl
{{- if ne $url "http://127.0.0.1:7777" }}, --url, {{ $url | quote }}{{ end -}}
{{- end -}}

{{/* An init container that goes on: for the pod of a chart that has this one as a dependency, too. */}}
{{- define "flowd.sidecar" -}}
{{ include "flowd.container" . }}
restartPolicy: Always
startupProbe:
  exec:
    command: [{{ include "flowd.flowctl" . }}, ready]
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  exec:
    command: [{{ include "flowd.flowctl" . }}, status]
  periodSeconds: 30
  timeoutSeconds: 5
readinessProbe:
  exec:
    command: [{{ include "flowd.flowctl" . }}, ready]
  periodSeconds: 10
  timeoutSeconds: 5
volumeMounts:
  - name: flowd-config
    mountPath: /etc/flowd
    readOnly: true
  - name: flowd-state
    mountPath: /var/lib/flowd
  - name: flowd-fifo
    mountPath: /run/flowd.d
{{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "flowd.sidecarVolumes" -}}
- name: flowd-config
  configMap:
    name: {{ include "flowd.fullname" . }}
- name: flowd-state
  emptyDir: {}
- name: flowd-fifo
  emptyDir: {}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
